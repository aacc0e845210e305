/* batch.h -- arguments of the entries that train and validate.            */
#ifndef RVM_CLI_TRAIN_BATCH_H
#define RVM_CLI_TRAIN_BATCH_H
#include "cli/train/train.h"

enum { MOST_PARAMS = 64 };
/* An entry with what each of its parameters is. */
typedef struct {
  rvm_func f;
  int n;
  Role role[MOST_PARAMS];
  int column[MOST_PARAMS];
  rvm_type type[MOST_PARAMS];
  Tensor *buffer[MOST_PARAMS];       /* of a Column or Length: reused            */
} Entry;

/* false after saying why on stderr. */
bool entry_find(Machine *m, const char *name, const DataSet *d, Entry *out);

/* The values of one call.  params, state: consumed with the call. */
typedef struct {
  const DataSet *data;
  const int64_t *order;              /* the numbers of the examples              */
  int64_t n;
  uint64_t seed, step, total;
} Batch;
/* Fills in[0 .. e->n); params and state go to their places.  NULL, or a sentence;
 * then nothing is held.  Tensors are borrowed from e's buffers until the next
 * batch of e. */
const char *batch_make(Machine *m, Entry *e, const Batch *b, rvm_value params, rvm_value state,
                       rvm_value *in, rvm_error *err);
/* What may be wrong with the numbers of a batch: "`x` of its batch has numbers that are
 * not finite", or sequences without elements; NULL: nothing. */
const char *batch_odd(const Entry *e, const Batch *b);
#endif
