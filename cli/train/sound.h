/* sound.h -- recordings as examples: x, the samples, and y, the labels.  */
#ifndef RVM_CLI_TRAIN_SOUND_H
#define RVM_CLI_TRAIN_SOUND_H
#include "cli/train/train.h"

/* paths: folders (their .wav files, and those of the folders in them) and patterns
 * with *, ?, [..] and {..}.  labels: "folder" (the one a recording lies in), "name"
 * (what its name has before the first _), a .csv file with lines "recording,label",
 * or NULL: "folder" if any path's recordings lie in more than one, else "name".
 * Labels are numbered in their order, as numbers when all are; classes, when given,
 * is that order.  *io: the trouble is a file that cannot be read. */
const char *sound_read(const TextList *paths, const char *labels, const TextList *classes,
                       DataSet *out, bool *io);
#endif
