/* pipeline.c -- the passes by name, and what each level runs, with reasons.   */
#include <string.h>
#include "opt/pass.h"

const Pass *const all_passes[] = {
    &pass_batch,    &pass_combine, &pass_copy,   &pass_cse,   &pass_dce,     &pass_fold,
    &pass_fuse,     &pass_hoist,   &pass_inline, &pass_known, &pass_layout,  &pass_lift,
    &pass_narrow,   &pass_pack,    &pass_params, &pass_refs,  &pass_results, &pass_scale,
    &pass_simplify, &pass_special, &pass_stack,  &pass_unroll};
const int n_all_passes = sizeof all_passes / sizeof *all_passes;

/* clang-format off */
static const Pass *const level1[] = {
    &pass_inline,     /* first: the others see what calls hide                     */
    &pass_refs,       /* before copy: what it leaves are copies                    */
    &pass_copy,       /* fewer names: the next passes see through lets             */
    &pass_known,      /* before cse: projections become plain operands             */
    &pass_fold,       /* what hangs on constants is a constant                     */
    &pass_known,      /* ... and may decide an if                                  */
    &pass_simplify,   /* may make two expressions equal                            */
    &pass_copy,       /* what the two left behind are copies                       */
    &pass_cse,
    &pass_copy,       /* the second of two equals is a copy now                    */
    &pass_dce,        /* sweeps what the others disconnected                       */
    &pass_fuse,       /* last: the others do not look into what it makes           */
};
static const Pass *const level2[] = {
    &pass_inline,     /* first: the others see what calls hide                     */
    &pass_refs, &pass_copy,
    &pass_dce,        /* a function literal may have one use left                  */
    &pass_lift,       /* after inline: what a function captures is constant then;  */
                      /* ... before those that look at functions of the module     */
    &pass_unroll,     /* before special: loops over known lists need no function   */
    &pass_special,    /* loops over known functions; those become calls in view    */
    &pass_inline,     /* ... as does one that came out of a ref                    */
    &pass_copy, &pass_dce,
    &pass_narrow,     /* pullbacks that are not called ...                         */
    &pass_dce,        /* ... are gone                                              */
    &pass_results,    /* after dce, which leaves the parts that somebody takes     */
    &pass_refs,       /* after dce: closures that are gone share no ref            */
    &pass_copy,
    &pass_known,      /* a match inside a match shows on second sight              */
    &pass_fold,       /* what hangs on constants is a constant                     */
    &pass_known,      /* ... and may decide an if                                  */
    &pass_scale,      /* wants constants in plain view, and leaves new ones ...    */
    &pass_combine,    /* ... as does this one, last of those that look at weights  */
    &pass_fold,       /* ... to be computed                                        */
    &pass_known,      /* the batch norm it took apart was a tuple                  */
    &pass_simplify,   /* may make two expressions equal                            */
    &pass_copy, &pass_cse, &pass_copy,
    &pass_dce,
    &pass_params,     /* tuples in pieces: the next two look at parameters         */
    &pass_known,      /* projections of the tuples put together again              */
    &pass_copy, &pass_dce,
    &pass_pack,       /* before hoist: makes what it moves                         */
    &pass_hoist,      /* before batch: its operands are parameters then            */
    &pass_batch,      /* the steps of recursions are plain code now                */
    &pass_stack,      /* after batch: what is left are products of one step        */
    &pass_copy,
    &pass_dce,        /* sweeps what the others disconnected                       */
    &pass_layout,     /* after scale, which knows one layout, and dce: a use less  */
    &pass_fuse,       /* last: the others do not look into what it makes           */
};
/* clang-format on */
enum { N_1 = sizeof level1 / sizeof *level1, N_2 = sizeof level2 / sizeof *level2 };

const Pass *const *pipeline(int level, int *n) {
  *n = level <= 0 ? 0 : level == 1 ? N_1 : N_2;
  return level <= 1 ? level1 : level2;
}

const Pass *pass_find(const char *name, size_t n) {
  for (int i = 0; i < n_all_passes; i++)
    if (strlen(all_passes[i]->name) == n && !memcmp(all_passes[i]->name, name, n))
      return all_passes[i];
  return NULL;
}
