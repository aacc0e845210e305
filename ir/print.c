/* print.c -- programs as text that reads back to the same program.
 *
 * One counter numbers the temporaries of a whole dump.  Names are made unique
 * within a definition, so the text does not lean on shadowing.
 *
 * The Relay dialect keeps to what TVM 0.10 parses: graph bindings there are
 * nodes of a graph without an order, so what has an effect becomes a let.    */
#include "ir/print_int.h"
#include "ir/op.h"
#include <string.h>

typedef struct {
  const Module *m;
  PrintOpts o;
  StrBuf *out;
  int indent, next_tmp;
  Names vars;     /* of one definition                              */
  Names types;    /* dims and type variables of one function        */
  TextNames text; /* the same as callbacks                          */
  ConstTable consts;
  Map alias; /* Var -> Atom: bindings that only copy an atom   */
} Printer;

static const char *dim_name(void *ud, Dim s) {
  return s->name ? names_of(ud, s, s->name, "n") : NULL;
}
static const char *tyvar_name(void *ud, TyVar *v) { return names_of(ud, v, v->name, "A"); }

static void printer_init(Printer *p, const Module *m, const PrintOpts *o, StrBuf *out) {
  *p = (Printer){.m = m, .out = out};
  if (o) p->o = *o;
  p->o.all |= p->o.relay; /* TVM has no prelude of its own when it reads */
  p->vars.syms = m->cx->syms;
}

static void new_type_scope(Printer *p) {
  p->types = (Names){.syms = p->m->cx->syms};
  p->text = (TextNames){dim_name, tyvar_name, &p->types, p->o.relay};
}

static void put(Printer *p, const char *s) { buf_str(p->out, s); }

static void new_line(Printer *p) {
  static const char blanks[] = "                                ";
  buf_char(p->out, '\n');
  for (int n = 2 * p->indent; n > 0; n -= 32) buf_put(p->out, blanks, (size_t)(n < 32 ? n : 32));
}

static void put_doc(Printer *p, const char *doc, const char *indent) {
  while (doc) {
    const char *end = strchr(doc, '\n');
    size_t n = end ? (size_t)(end - doc) : strlen(doc);
    buf_fmt(p->out, "%s///%s", indent, n ? " " : "");
    buf_put(p->out, doc, n);
    buf_char(p->out, '\n');
    doc = end ? end + 1 : NULL;
  }
}

/* ---- types ---- */

static void put_type(Printer *p, Type *t) { type_print_as(t, &p->text, p->out); }

typedef enum { HAS_META = 1, HAS_REF = 2, HAS_SCHEME = 4 } TypeTrait;

static unsigned traits(Type *t) {
  unsigned has = 0;
  t = type_resolve(t);
  switch (t->kind) {
  case TY_Error:
  case TY_Meta: return HAS_META;
  case TY_Tensor:
  case TY_Var: return 0;
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) has |= traits(t->tuple.at[i]);
    return has;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) has |= traits(t->fn.param[i]);
    return has | traits(t->fn.ret) | (t->fn.n_vars ? HAS_SCHEME : 0);
  case TY_Data:
    for (int i = 0; i < t->data.n; i++) has |= traits(t->data.arg[i]);
    return has;
  case TY_Ref: return HAS_REF | traits(t->ref);
  }
  return has;
}

/* Can t stand in the text?  TVM reads neither ref(T) nor fn [A](...). */
static bool is_writable(const Printer *p, Type *t) {
  return t && !(p->o.relay && (traits(t) & (HAS_REF | HAS_SCHEME)));
}

/* The type of a variable as the text should say it: what was written, else,
 * for parameters, what was inferred if all of it is known. */
static void put_annot(Printer *p, const Var *v, bool is_param) {
  Type *t = v->annot;
  if (!t && is_param && v->type && !(traits(v->type) & HAS_META)) t = v->type;
  if (!is_writable(p, t)) return;
  put(p, ": ");
  put_type(p, t);
}

static void put_ty_comment(Printer *p, Type *t) {
  if (!p->o.types || !t) return;
  put(p, " /* ty=");
  put_type(p, t);
  put(p, " */");
}

/* ---- atoms ---- */

static const char *var_text(Printer *p, const Var *v, const char *base) {
  return names_of(&p->vars, v, v->name, base);
}

static void put_const(Printer *p, const Tensor *c) {
  if (!const_print_literal(c, p->o.relay, p->out))
    buf_fmt(p->out, "meta[relay.Constant][%d]", const_index(&p->consts, c));
}

static const Atom *unalias(const Printer *p, const Atom *a) {
  const Atom *to = a->kind == ATOM_Var ? map_get(&p->alias, map_ptr(a->var)) : NULL;
  return to ? to : a;
}

static void put_atom(Printer *p, const Atom *a) {
  a = unalias(p, a);
  switch (a->kind) {
  case ATOM_Var: buf_fmt(p->out, "%%%s", var_text(p, a->var, "t")); break;
  case ATOM_Const: put_const(p, a->cst); break;
  case ATOM_Global: buf_fmt(p->out, "@%s", a->global->name); break;
  case ATOM_Ctor: put(p, a->ctor->name); break;
  case ATOM_Op: put(p, a->op->name); break;
  case ATOM_Poison: put(p, "_"); break;
  }
}

static void put_atoms(Printer *p, int n, const Atom *at) {
  for (int i = 0; i < n; i++) {
    if (i) put(p, ", ");
    put_atom(p, &at[i]);
  }
}

/* Attributes after n other things in a list.  Values that only referred to
 * TVM's metadata carry nothing. */
static void put_attrs(Printer *p, const Attrs *a, int n) {
  for (int i = 0; i < a->n; i++) {
    if (a->at[i].val.kind == AV_Other) continue;
    buf_fmt(p->out, "%s%s=", n++ ? ", " : "", a->at[i].name);
    attr_print(&a->at[i].val, p->out);
  }
}

/* ---- blocks and functions ---- */

static void put_expr(Printer *p, const Expr *e);

static bool calls_itself(const Binding *b) {
  VarList vars = {0};
  if (b->value->kind != EX_Fn) return false;
  ir_free_vars(b->value->Fn.fn, &vars);
  for (int i = 0; i < vars.n; i++)
    if (vars.at[i] == b->var) return true;
  return false;
}

static bool prints_as_let(const Printer *p, const Binding *b) {
  return b->style == BIND_Let || calls_itself(b) ||
         (b->style == BIND_Graph && p->o.relay && !ir_is_pure(b->value));
}

static void put_bound_name(Printer *p, const Binding *b) {
  if (prints_as_let(p, b)) {
    buf_fmt(p->out, "let %%%s", var_text(p, b->var, "t"));
    put_annot(p, b->var, false);
    put(p, " = ");
  } else if (b->style == BIND_Graph) {
    Sym name = sym(p->m->cx->syms, str_fmt("%d", p->next_tmp++));
    map_set(&p->vars.text, map_ptr(b->var), (void *)(uintptr_t)name);
    buf_fmt(p->out, "%%%s = ", name);
  }
}

/* The reader gives %0 = %x; and the statement %x; no binding of their own, so
 * neither does the text: %0 prints as %x. */
static bool is_alias(Printer *p, const Binding *b) {
  if (b->value->kind != EX_Just || b->style == BIND_Let) return false;
  const Atom *to = unalias(p, &b->value->Just.value);
  map_set(&p->alias, map_ptr(b->var), (void *)(uintptr_t)to);
  return true;
}

static void put_binding(Printer *p, const Binding *b) {
  bool paren = p->o.relay && b->value->kind == EX_Match && b->style != BIND_Seq;
  put_bound_name(p, b);
  if (paren) buf_char(p->out, '(');
  put_expr(p, b->value);
  if (paren) buf_char(p->out, ')');
  put_ty_comment(p, b->value->type);
  buf_char(p->out, ';');
}

static void put_block(Printer *p, const Block *b) {
  buf_char(p->out, '{');
  p->indent++;
  for (int i = 0; i < b->n; i++) {
    if (is_alias(p, &b->at[i])) continue;
    new_line(p);
    put_binding(p, &b->at[i]);
  }
  new_line(p);
  put_atom(p, &b->result);
  p->indent--;
  new_line(p);
  buf_char(p->out, '}');
}

static Dim note_dim(void *ud, Dim s) {
  map_set(ud, map_ptr(s), (void *)(uintptr_t)s);
  return NULL;
}

/* Dims need no list where a parameter's type mentions them. */
static void put_quantifiers(Printer *p, const Fn *f) {
  Map seen = {0};
  int n = 0;
  for (int i = 0; i < f->n_vars; i++)
    buf_fmt(p->out, "%s%s", n++ ? ", " : "[", tyvar_name(&p->types, f->var[i]));
  for (int i = 0; i < f->n && f->n_dims && !p->o.relay; i++) {
    Type *t = f->param[i]->annot ? f->param[i]->annot : f->param[i]->type;
    if (t) type_subst(p->m->cx->dims, t, NULL, note_dim, &seen);
  }
  for (int i = 0; i < f->n_dims && !p->o.relay; i++)
    if (f->dim[i]->name && !map_get(&seen, map_ptr(f->dim[i])))
      buf_fmt(p->out, "%s%s", n++ ? ", " : "[", dim_name(&p->types, f->dim[i]));
  if (n) buf_char(p->out, ']');
}

static void put_fn(Printer *p, const Fn *f) {
  put_quantifiers(p, f);
  buf_char(p->out, '(');
  for (int i = 0; i < f->n; i++) {
    buf_fmt(p->out, "%s%%%s", i ? ", " : "", var_text(p, f->param[i], "p"));
    put_annot(p, f->param[i], true);
  }
  put_attrs(p, &f->attrs, f->n);
  put(p, ") ");
  if (is_writable(p, f->ret) && !(traits(f->ret) & HAS_META)) {
    put(p, "-> ");
    put_type(p, f->ret);
    buf_char(p->out, ' ');
  }
  put_block(p, f->body);
}

/* ---- expressions ---- */

static void put_call(Printer *p, const ExCall *c) {
  put_atom(p, &c->callee);
  if (c->callee.kind == ATOM_Ctor && c->callee.ctor->n == 0 && c->n_args == 0) return;
  buf_char(p->out, '(');
  put_atoms(p, c->n_args, c->args);
  put_attrs(p, &c->attrs, c->n_args);
  buf_char(p->out, ')');
}

static void put_pattern(Printer *p, const Pattern *pat) {
  switch (pat->kind) {
  case PAT_Wild: buf_char(p->out, '_'); return;
  case PAT_Var:
    buf_fmt(p->out, "%%%s", var_text(p, pat->var, "p"));
    put_annot(p, pat->var, false);
    return;
  case PAT_Ctor: put(p, pat->ctor->name); break;
  case PAT_Tuple: break;
  }
  if (pat->kind == PAT_Ctor && pat->n == 0) return;
  buf_char(p->out, '(');
  for (int i = 0; i < pat->n; i++) {
    if (i) put(p, ", ");
    put_pattern(p, pat->at[i]);
  }
  put(p, pat->kind == PAT_Tuple && pat->n == 1 && !p->o.relay ? ",)" : ")");
}

static void put_match(Printer *p, const ExMatch *m) {
  put(p, m->partial ? "match? (" : "match (");
  put_atom(p, &m->scrutinee);
  put(p, ") {");
  p->indent++;
  for (int i = 0; i < m->n_clauses; i++) {
    const Clause *c = &m->clauses[i];
    new_line(p);
    put_pattern(p, c->pat);
    put(p, " => ");
    if (c->body->n || p->o.relay)
      put_block(p, c->body);
    else
      put_atom(p, &c->body->result);
    buf_char(p->out, ',');
  }
  p->indent--;
  new_line(p);
  buf_char(p->out, '}');
}

static void put_if(Printer *p, const ExIf *e) {
  put(p, "if (");
  put_atom(p, &e->cond);
  put(p, ") ");
  put_block(p, e->then);
  put(p, " else ");
  put_block(p, e->otherwise);
}

static void put_form(Printer *p, const char *name, const Atom *a, const Atom *b) {
  buf_fmt(p->out, "%s(", name);
  put_atom(p, a);
  if (b) {
    put(p, ", ");
    put_atom(p, b);
  }
  buf_char(p->out, ')');
}

static void put_match_cast(Printer *p, const ExMatchCast *c) {
  if (p->o.relay) { /* TVM has no assertions on shapes */
    put_atom(p, &c->value);
    return;
  }
  put(p, "match_cast(");
  put_atom(p, &c->value);
  put(p, ", ");
  put_type(p, c->to);
  buf_char(p->out, ')');
}

static void put_expr(Printer *p, const Expr *e) {
  switch (e->kind) {
  case EX_Just: put_atom(p, &e->Just.value); break;
  case EX_Call: put_call(p, &e->Call); break;
  case EX_Tuple:
    buf_char(p->out, '(');
    put_atoms(p, e->Tuple.n_items, e->Tuple.items);
    put(p, e->Tuple.n_items == 1 ? ",)" : ")");
    break;
  case EX_Proj:
    put_atom(p, &e->Proj.tuple);
    buf_fmt(p->out, ".%d", e->Proj.index);
    break;
  case EX_Fn:
    put(p, "fn ");
    put_fn(p, e->Fn.fn);
    break;
  case EX_If: put_if(p, &e->If); break;
  case EX_Match: put_match(p, &e->Match); break;
  case EX_Ref: put_form(p, "ref", &e->Ref.value, NULL); break;
  case EX_RefRead: put_form(p, "ref_read", &e->RefRead.ref, NULL); break;
  case EX_RefWrite: put_form(p, "ref_write", &e->RefWrite.ref, &e->RefWrite.value); break;
  case EX_MatchCast: put_match_cast(p, &e->MatchCast); break;
  case EX_COUNT: break;
  }
}

/* ---- definitions ---- */

static void put_ctor(Printer *p, const Ctor *c) {
  put_doc(p, c->doc, "  ");
  buf_fmt(p->out, "  %s", c->name);
  for (int i = 0; i < c->n; i++) {
    put(p, i ? ", " : "(");
    if (c->field_name && c->field_name[i] && !p->o.relay) buf_fmt(p->out, "%s: ", c->field_name[i]);
    put_type(p, c->field[i]);
  }
  put(p, c->n ? "),\n" : ",\n");
}

static void put_data(Printer *p, const DataDef *d) {
  new_type_scope(p);
  put_doc(p, d->doc, "");
  if (d->is_extern) {
    buf_fmt(p->out, "extern type %s\n", d->name);
    return;
  }
  buf_fmt(p->out, "type %s", d->name);
  for (int i = 0; i < d->n_vars; i++)
    buf_fmt(p->out, "%s%s", i ? ", " : "[", tyvar_name(&p->types, d->var[i]));
  put(p, d->n_vars ? "] {\n" : " {\n");
  for (int i = 0; i < d->n_ctors; i++) put_ctor(p, d->ctor[i]);
  put(p, "}\n");
}

/* Parameters keep their names wherever they can: inputs go by them. */
static void put_global(Printer *p, const Global *g) {
  new_type_scope(p);
  p->vars.used = (Map){0};
  put_doc(p, g->doc, "");
  buf_fmt(p->out, "def @%s", g->name);
  put_fn(p, g->fn);
  buf_char(p->out, '\n');
}

/* The prelude is there whenever the text is read; what a file imported is
 * not, and belongs to the text. */
static bool is_prelude(const Printer *p, bool library, Span at) {
  const Source *s = library && p->m->sources ? source_get(p->m->sources, at.file) : NULL;
  if (!s) return library;
  const char *base = strrchr(s->path, '/');
  return strcmp(base ? base + 1 : s->path, "prelude.rly") == 0;
}

static void put_datas(Printer *p, bool externs) {
  for (int i = 0; i < p->m->types.n; i++) {
    const DataDef *d = p->m->types.at[i];
    if (p->o.relay && d->is_extern != externs) continue;
    if (!p->o.all && is_prelude(p, d->library, d->span)) continue;
    buf_char(p->out, '\n');
    put_data(p, d);
  }
}

void ir_print_module(const Module *m, const PrintOpts *o, StrBuf *out) {
  Printer p;
  printer_init(&p, m, o, out);
  put(&p, "#[version = \"0.0.5\"]\n");
  if (m->trusting && !p.o.relay) put(&p, "#[derived]\n");
  put_datas(&p, false);
  for (int i = 0; i < m->globals.n; i++) {
    const Global *g = m->globals.at[i];
    if (!p.o.all && is_prelude(&p, g->library, g->span)) continue;
    buf_char(out, '\n');
    put_global(&p, g);
  }
  if (p.o.relay) put_datas(&p, true); /* TVM stops reading after an extern type */
  const_table_print(&p.consts, out);
}
