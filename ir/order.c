/* order.c -- strongly connected components of the call graph (Tarjan 1972),
 * without recursion: a program may be a chain of any number of functions.    */
#include "ir/order.h"

typedef struct {
  VEC(int) callee;
  int index, low, next;
  bool on_stack;
} Node;
typedef struct {
  Node *node;
  VEC(int) stack, path;
  int counter;
  GlobalGroups out;
  int n_out;
} Order;

/* ---- the graph ---- */

static void see_block(void *ud, Block *b);
static void see_atom(void *ud, Atom *a) {
  Node *n = ud;
  if (a->kind == ATOM_Global) vec_push(&n->callee, a->global->index);
}

static void see_block(void *ud, Block *b) {
  static const ExprVisit visit = {.atom = see_atom, .block = see_block};
  for (int i = 0; i < b->n; i++) ir_visit(b->at[i].value, &visit, ud);
  see_atom(ud, &b->result);
}

/* ---- the walk ---- */

static void open_node(Order *o, int v) {
  o->node[v].index = o->node[v].low = ++o->counter;
  o->node[v].on_stack = true;
  vec_push(&o->stack, v);
  vec_push(&o->path, v);
}

static void close_group(Order *o, Module *m, int root) {
  int v, size = 0;
  do {
    v = vec_pop(&o->stack);
    o->node[v].on_stack = false;
    o->out.at[o->n_out++] = m->globals.at[v];
    size++;
  } while (v != root);
  o->out.size[o->out.n++] = size;
}

static void step(Order *o, Module *m) {
  int v = vec_last(&o->path);
  Node *n = &o->node[v];
  if (n->next < n->callee.n) {
    int w = n->callee.at[n->next++];
    Node *to = &o->node[w];
    if (!to->index)
      open_node(o, w);
    else if (to->on_stack && to->index < n->low)
      n->low = to->index;
    return;
  }
  (void)vec_pop(&o->path);
  if (n->low == n->index) close_group(o, m, v);
  if (o->path.n && n->low < o->node[vec_last(&o->path)].low)
    o->node[vec_last(&o->path)].low = n->low;
}

GlobalGroups global_groups(Module *m) {
  int n = m->globals.n;
  Order o = {.node = NEW_N(Node, n + 1)};
  o.out.size = NEW_N(int, n + 1);
  o.out.at = NEW_N(Global *, n + 1);
  for (int i = 0; i < n; i++) {
    m->globals.at[i]->index = i;
    see_block(&o.node[i], m->globals.at[i]->fn->body);
  }
  for (int i = 0; i < n; i++) {
    if (o.node[i].index) continue;
    open_node(&o, i);
    while (o.path.n) step(&o, m);
  }
  return o.out;
}
