/* train.h -- between the files of `rvm train`.
 *
 * What the program has to define, and what its parameters mean, is in
 * docs/training.md.  A parameter is known by its name: the first one is the
 * weights; `state`, `key`, `step`, `total` are the trainer's; others are columns
 * of the data, or NAME_length for the lengths of the sequences of column NAME.
 *
 * Functions that return a sentence return NULL when all is well.             */
#ifndef RVM_CLI_TRAIN_H
#define RVM_CLI_TRAIN_H
#include "cli/cli.h"
#include "cli/engine.h"
#include "cli/value/spec.h"

typedef struct {
  CommonOpts common;
  TextList data;
  const char *validate, *labels, *out, *checkpoint, *log, *plot, *from, *monitor, *engine;
  const char *optimizer, *schedule;
  NumberOpt lr, momentum, beta1, beta2, epsilon, decay, clip, opt;
  uint64_t epochs, batch, seed, warmup, patience, threads;
  bool nesterov, resume, print_step, quiet;
} TrainOpts;

/* ---- data ------------------------------------------------------------------------ */

/* Examples 0 to n - 1 of one kind: tensors of one element type and rank.  dim[0]
 * is -1 where their first extents differ; other extents never do. */
typedef struct {
  const char *name;
  DType dtype;  int rank;  int64_t dim[MAX_RANK];
  Tensor *item;
} Column;
typedef struct {
  VEC(Column) columns;
  int64_t n;
  TextList classes;                  /* of recordings: what the labels 0, 1 .. are called */
  int rate;                          /* of recordings: samples a second         */
} DataSet;

/* Tensor files give a column per tensor (a .npy by the name of the file); a folder
 * or a pattern of .wav files gives x, the samples, and y, the labels as int32.
 * labels: "folder", "name", a .csv file, or NULL.  classes: of another set whose
 * numbering holds, or NULL.  false after saying why on stderr. */
bool    data_read(const TextList *paths, const char *labels, const TextList *classes, DataSet *out,
                  int *code);
/* Takes round(share * n) of the examples, at least one and not all, into held; which,
 * seed says. */
void    data_hold_out(DataSet *d, double share, uint64_t seed, DataSet *held);
Column *data_column(const DataSet *d, const char *name);       /* NULL: none       */
const char *data_names(const DataSet *d);                      /* "x, y"           */
/* Sets dtype, rank and dim of the column from its n items, or says which differs. */
const char *column_measure(Column *c, int64_t n);
/* The items as another element type: whole numbers that fit, floats rounded. */
const char *column_convert(Column *c, int64_t n, DType to);
/* 0 .. n - 1 shuffled (Fisher and Yates, by splitmix64 of seed and turn). */
void    shuffle(int64_t *order, int64_t n, uint64_t seed, uint64_t turn);
/* Of everything in the set: two sets are the same data when these are equal. */
uint64_t data_hash(const DataSet *d);
/* "Tensor[(32, ?, 40), float32]" */
void    type_text_of_batch(const Column *c, int64_t batch, DType dtype, StrBuf *out);

/* ---- the program -------------------------------------------------------------------- */
typedef enum { ROLE_Params, ROLE_State, ROLE_Key, ROLE_Step, ROLE_Total, ROLE_Column, ROLE_Length,
               ROLE_None } Role;
/* *column: the number of the column of Column and Length. */
Role role_of(const DataSet *d, const char *name, int index, int *column);

/* The program before anything is derived from it. */
typedef struct {
  const TrainOpts *o;
  const char *path;
  Module *m;
  Global *init, *loss, *gradient, *step, *state, *metrics, *features;   /* NULL: not defined */
  const char *prefix;                /* what the weights are called             */
} Plan;
/* false after reporting on d or stderr. */
bool plan_read(Plan *p, Driver *d, int *code);

enum { MOST_METRICS = 16 };
typedef struct { const char *name[MOST_METRICS]; int n; } Names;  /* of what validation measures */

/* The program that trains: imports p->path and defines what is missing.  For
 * batches of `batch` examples, and of `rest` for the last one unless it is 0;
 * val and val_rest likewise for validation (0: none).  With data == NULL it has
 * the types of @loss and no entries: what --print-step shows without data. */
typedef struct { int64_t batch, rest, val, val_rest; } BatchSizes;
bool plan_derive(const Plan *p, const DataSet *data, const BatchSizes *sizes, Names *measured,
                 StrBuf *text);
/* The entries of that text: "__init,init_state,train_step,..." */
const char *plan_entries(const Plan *p, const BatchSizes *sizes);

/* ---- a program that runs --------------------------------------------------------------- */
typedef struct {
  Driver d;
  const char *path;
  const uint8_t *volatile image;     /* borrowed by p, unseen by a collector    */
  rvm_program *p;
  rvm_instance *vm;
  EngineChoice engine;
} Machine;
/* text: NULL for the file itself.  entries: "a,b".  false after reporting. */
bool machine_open(Machine *m, const TrainOpts *o, const char *path, const StrBuf *text,
                  const char *entries, int *code);
void machine_close(Machine *m);
int  machine_failed(Machine *m, const rvm_error *err);         /* reports; the exit code */

/* Applies @features to its column: each example becomes what it returns. */
bool data_features(const Plan *p, DataSet *d, int *code);

/* ---- values, taken apart ------------------------------------------------------------------ */
/* The structure of a value and copies of its tensors by dotted name, which begin
 * with prefix as rvm run --params expects them. */
typedef struct { InValue *root; TensorSet leaves; } Tree;
void        tree_take(Machine *m, rvm_value v, const char *prefix, Tree *out);
/* The tensors of the same names in the set become those of the tree. */
const char *tree_put(const Tree *t, const TensorSet *set);

/* ---- progress ------------------------------------------------------------------------------- */
typedef struct {
  double loss, seconds;
  double measured[MOST_METRICS];
} Epoch;
typedef struct { VEC(Epoch) at; } History;

typedef struct {
  FILE *log;
  bool bar, quiet;
  uint64_t epochs;
  int64_t steps, examples;           /* of an epoch                             */
  double began, drawn;
  const Names *names;
  double total;                      /* seconds of the epochs behind            */
  const Epoch *last;                 /* NULL: none yet                          */
  uint64_t first, epoch;             /* of this run; now, from 1                */
} Report;
void   report_step(Report *r, int64_t step, int64_t examples, double loss);
void   report_epoch(Report *r, uint64_t epoch, const Epoch *e, uint64_t steps);
void   report_clear(Report *r);      /* before anything else is written         */
void   log_epoch(StrBuf *out, uint64_t epoch, const Epoch *e, const Names *names, uint64_t steps);

/* An SVG with the losses over the epochs, written atomically. */
const char *plot_write(const char *path, const History *h, const Names *names);

/* ---- checkpoints ------------------------------------------------------------------------------ */
typedef struct {
  uint64_t epoch, step;              /* done                                     */
  History history;
  bool has_best;
  double best;  uint64_t best_epoch;
  const char *config;                /* lines "name=value"                       */
} Progress;
/* One .safetensors: the weights under their names, the rest under train.*, and a
 * checksum of it all.  state: named train.state.*; best: named as the weights. */
const char *checkpoint_write(const char *path, const Progress *at, const Names *names,
                             const TensorSet *weights, const TensorSet *state,
                             const TensorSet *best);
/* *set: all tensors.  The sentence says what is damaged or what differs from
 * at->config. */
const char *checkpoint_read(const char *path, Progress *at, const Names *names, TensorSet *set);

/* ---- the loop ----------------------------------------------------------------------------------- */
int train_loop(const TrainOpts *o, const Plan *plan, Machine *m, DataSet *train, DataSet *val,
               const BatchSizes *sizes, const Names *names, const char *config);
#endif
