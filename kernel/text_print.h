/* text_print.h -- inside the printing of kernel text: the state, and what goes into a line. */
#ifndef RVM_KERNEL_TEXT_PRINT_H
#define RVM_KERNEL_TEXT_PRINT_H
#include "kernel/text_priv.h"

typedef struct {
  const Kernel *k;
  KAlloc a;
  char *text;
  size_t n, cap;
  bool refused;
  int indent;
  uint32_t *uses, *seen, *height, *alias; /* per node, of group `stamp`    */
  uint32_t *stack, *edge, *order;         /* the walk; order: leaving order */
  uint32_t stamp, n_order, n_alias;
  uint32_t *var_number; /* per variable                  */
  uint32_t numbered[KV_Acc + 1];
  uint32_t name_at[K_MAX_SYMS + K_MAX_BUFS]; /* in names: symbols, then buffers */
  char *names;
  size_t n_names, cap_names;
} Printer;

/* All write at the end of p->text; when the allocator refuses, p->refused is set and nothing more
 * is written. */
void print_n(Printer *p, const char *s, size_t n);
void print_text(Printer *p, const char *s);
void print_uint(Printer *p, uint64_t v, unsigned base);
void print_line(Printer *p); /* a new one, indented */
void print_quoted(Printer *p, const char *s);
bool print_is_word(const char *s); /* can a name stand without quotes? */

/* Words for symbols and buffers, each another one; before any of them is printed. */
void print_make_names(Printer *p);
void print_sym(Printer *p, uint32_t i);
void print_buf(Printer *p, uint32_t i);
void print_var(Printer *p, uint32_t v); /* numbered as they are met */

/* Nodes that have a name in this group (alias) by that.  prec: what binds less gets parentheses. */
void print_expr(Printer *p, KE e, int prec);
#endif
