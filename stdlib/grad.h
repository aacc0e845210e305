/* grad.h -- tables of gradients, one per family; private to stdlib/.          */
#ifndef RVM_STDLIB_GRAD_H
#define RVM_STDLIB_GRAD_H
#include "ir/grad.h"
#include "stdlib/stdlib.h"

extern const GradRule grad_reduce_rules[], grad_matrix_rules[], grad_move_rules[],
    grad_index_rules[], grad_nn_rules[], grad_conv_rules[];

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
#endif
