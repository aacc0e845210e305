/* wav.h -- recordings: RIFF/WAVE files.
 *
 * PCM of 8 (unsigned), 16, 24 and 32 bits and float of 32 and 64 bits, plain or
 * WAVE_FORMAT_EXTENSIBLE, any number of channels.  Samples become float32 in
 * [-1, 1): an integer of b bits is divided by 2^(b-1); floats stay as they are.
 * The files are untrusted: what is not as the format says is refused with a
 * sentence that names the place.                                             */
#ifndef RVM_CLI_WAV_H
#define RVM_CLI_WAV_H
#include "ir/expr.h"

typedef struct {
  int rate, channels;                /* Hertz                                  */
  Tensor *samples;                   /* float32 (n): the mean of the channels  */
} Wav;

enum { WAV_MAX_CHANNELS = 64, WAV_MAX_RATE = 1000000 };

/* NULL, or the reason; from base/mem.h. */
const char *wav_parse(const uint8_t *bytes, size_t n, Wav *out);
/* The sentence starts with the path. */
const char *wav_read(const char *path, Wav *out);
#endif
