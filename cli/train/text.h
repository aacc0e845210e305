/* text.h -- writing the program that trains: between derive.c and update.c.  */
#ifndef RVM_CLI_TRAIN_TEXT_H
#define RVM_CLI_TRAIN_TEXT_H
#include "cli/train/train.h"

/* An optimiser: its name in optim.rly, tensors of state for each weight. */
typedef struct { const char *name;  int slots;  const char *call; } Method;
const Method *method_of(const TrainOpts *o);       /* NULL: no such optimiser   */
const char   *schedule_of(const TrainOpts *o);     /* NULL: no such schedule    */
double        number(const NumberOpt *n, double otherwise);
const char   *literal(double x);                   /* a float32 of the language */

typedef struct {
  const TrainOpts *o;
  const Method *method;
  DimTab *dims;
  StrBuf functions;                  /* of the data types met                    */
  VEC(Type *) known;                 /* those types, numbered                    */
  int done;                          /* of them have their functions             */
  int next;                          /* a fresh variable                         */
  const char *bad;                   /* a part that cannot be trained, or NULL   */
} Gen;

/* The expressions that stand for one part of the weights, of their gradient, and
 * of each slot of the state. */
enum { PART_W, PART_G, PART_S, MOST_PARTS = 4 };
typedef struct { int n;  const char *at[MOST_PARTS]; } Parts;

const char *text_of(Type *t);        /* symbols as ?                             */
/* An expression of the type t: zeros in the shape of x; the sum of the squares of
 * x, a float32; the tuple of the new weights and the new slots. */
void put_zeros(Gen *g, Type *t, const char *x, StrBuf *out);
void put_norm(Gen *g, Type *t, const char *x, StrBuf *out);
void put_update(Gen *g, Type *t, const Parts *p, StrBuf *out);
/* Into g->functions, once all expressions have been put. */
void put_functions(Gen *g);
#endif
