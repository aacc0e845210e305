/* grad.h -- tables of gradients, one per family; private to stdlib/.          */
#ifndef RVM_STDLIB_GRAD_H
#define RVM_STDLIB_GRAD_H
#include "ir/grad.h"
#include "stdlib/stdlib.h"

extern const GradRule grad_reduce_rules[], grad_matrix_rules[], grad_move_rules[],
    grad_index_rules[], grad_nn_rules[], grad_conv_rules[], grad_pool_rules[];

/* The axes an attribute names, from 0 up and sorted; none, or [] when that means
 * all: every axis. */
void grad_axes(GradCx *g, const char *attr, int rank, bool empty_is_all, GradInts *out);
/* a with the extents of operand arg, to which it can be broadcast. */
Atom grad_spread(GradCx *g, Atom a, int arg);
/* How many elements operand `data`, the first, has along the axes: a scalar of its
 * element type. */
Atom grad_count(GradCx *g, const GradInts *axes);
/* For any operator that only moves elements of its float operands. */
bool grad_mover(GradCx *g);

/* grad_conv.c: what moves a window over one to three axes of space. */
extern const char *const grad_layouts[];     /* NC and the axes of space, by their number */
/* perm takes axes named by `layout` to the order of `want`, back takes them back; false: the
 * layout is packed. */
bool grad_order(const char *layout, const char *want, GradInts *perm, GradInts *back);
Atom grad_permuted(GradCx *g, Atom a, const GradInts *perm);
/* The attribute as one value for each of n places, as the operator reads it. */
void grad_ints(const GradCx *g, const char *attr, int n, GradInts *out);
void grad_padding(const GradCx *g, int space, GradInts *out);   /* all before, then all after */
#endif
