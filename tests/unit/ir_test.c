/* ir_test.c -- types, attributes, operators' records, walking and copying,
 * well-formedness, and the text of programs built by hand.                   */
#include "tests/unit/test.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "ir/op.h"

static const OpDef add_op = {
  .name = "add", .args = { { .name = "a" }, { .name = "b" } }, .flags = OP_PURE,
};
static const OpDef conv_op = {
  .name = "nn.conv", .args = { { .name = "x" }, { .name = "w" }, { .name = "bias" } },
  .optional = 1, .flags = OP_PURE,
  .attrs = {
    { "strides", A_Ints, "[1, 1]", "" }, { "padding", A_IntsList, "[[0, 0], [0, 0]]", "" },
    { "layout", A_Str, "NCHW", "" },     { "out_dtype", A_DType, "", "" },
    { "channels", A_Int, "None", "" },   { "eps", A_Float, "0.5", "" },
    { "ceil", A_Bool, "True", "" },      { "groups", A_Int, NULL, "" },
    { "sections", A_IntOrInts, "2", "" },
  },
};

typedef struct { IrCtx *cx; Module *m; Diags *d; } Fixture;

static Fixture fixture(void) {
  static const OpDef *const ops[] = { &add_op, &conv_op };
  Fixture f = { .cx = irctx_new() };
  Sources *s = NEW(Sources);
  irctx_set_ops(f.cx, ops, 2);
  f.m = module_new(f.cx, s);
  f.d = diags_new(s);
  return f;
}

static Sym name(Fixture *f, const char *s) { return sym(f->cx->syms, s); }
static const Span here = { 0, 0, 0 };

/* ---- types ---- */

static TyVar *ty_var(Fixture *f, const char *s) {
  TyVar *v = NEW(TyVar);
  v->name = name(f, s);
  return v;
}

/* fn [v](Tensor[(d + e), float32], v) -> v */
static Type *scheme(Fixture *f, const char *var, const char *x, const char *y) {
  TyVar *v = ty_var(f, var);
  Dim d = dim_new_sym(f->cx->dims, name(f, x), 0), e = dim_new_sym(f->cx->dims, name(f, y), 0);
  Dim sum = dim_add(f->cx->dims, d, e);
  Type *param[] = { type_tensor(DT_f32, 1, &sum), type_var(v) };
  return type_fn(1, &v, 2, (Dim[]){ d, e }, 2, param, type_var(v));
}

static void types_print_as_in_the_language(void **state) {
  (void)state;
  Fixture f = fixture();
  Dim d[] = { dim_const(f.cx->dims, 5), dim_any(f.cx->dims) };
  Type *t = type_tensor(DT_f32, 2, d);
  assert_string_equal(type_text(t), "Tensor[(5, ?), float32]");
  assert_string_equal(type_text(type_tensor(DT_i8, 1, d)), "Tensor[(5), int8]");
  assert_string_equal(type_text(type_scalar(DT_bool)), "bool");
  assert_string_equal(type_text(type_tuple(1, &t)), "(Tensor[(5, ?), float32],)");
  assert_string_equal(type_text(type_tuple(0, NULL)), "()");
  assert_string_equal(type_text(type_ref(type_scalar(DT_f16))), "ref(float16)");
  assert_string_equal(type_text(scheme(&f, "A", "n", "m")),
                      "fn [A, n, m](Tensor[(m + n), float32], A) -> A");
  Type *meta = type_meta(0, 1);
  assert_string_equal(type_text(meta), "_");
  meta->meta.is = type_scalar(DT_f64);
  assert_string_equal(type_text(meta), "float64");
}

static void schemes_are_equal_up_to_renaming(void **state) {
  (void)state;
  Fixture f = fixture();
  Type *a = scheme(&f, "A", "n", "m"), *b = scheme(&f, "B", "p", "q");
  assert_true(type_same(a, b));
  assert_false(type_same(a->fn.ret, b->fn.ret));
  assert_false(type_same(a->fn.param[0], b->fn.param[0]));
  Dim any = dim_any(f.cx->dims);
  assert_true(type_same(type_tensor(DT_f32, 1, &any), type_tensor(DT_f32, 1, &any)));
  assert_false(type_same(type_tensor(DT_f32, 1, &any), type_tensor(DT_f64, 1, &any)));
}

static Type *to_bool(void *ud, TyVar *v) { return v == ud ? type_scalar(DT_bool) : NULL; }

static void substitution_shares_what_does_not_change(void **state) {
  (void)state;
  Fixture f = fixture();
  TyVar *a = ty_var(&f, "A");
  Type *both[] = { type_var(a), type_scalar(DT_f32) }, *t = type_tuple(2, both);
  Type *s = type_subst(f.cx->dims, t, to_bool, NULL, a);
  assert_string_equal(type_text(s), "(bool, float32)");
  assert_ptr_equal(s->tuple.at[1], both[1]);
  assert_ptr_equal(type_subst(f.cx->dims, t, to_bool, NULL, NULL), t);
}

/* ---- attributes ---- */

static Attr attr(Fixture *f, const char *key, AttrVal v) { return (Attr){ name(f, key), here, v }; }
static AttrVal int_val(int64_t i) { return (AttrVal){ .kind = AV_Int, .i = i }; }

static void attributes_print_with_suffixes_and_escapes(void **state) {
  (void)state;
  AttrVal list[] = {
    int_val(1), { .kind = AV_Int, .i = 3000000000 }, { .kind = AV_Float, .bits = 32, .f = 0.1 },
    { .kind = AV_Float, .bits = 64, .f = 0.1 }, { .kind = AV_Bool, .i = 1 }, { .kind = AV_None },
    { .kind = AV_Str, .s = "a\"b\\c\n\x01" }, { .kind = AV_Float, .bits = 32, .f = 0.1f },
  };
  AttrVal all = { .kind = AV_List, .n = 8, .at = list };
  StrBuf b = { 0 };
  attr_print(&all, &b);
  assert_string_equal(b.s,
                      "[1, 3000000000i64, 0.1f, 0.1f64, True, None, \"a\\\"b\\\\c\\n\\u{1}\", "
                      "0.10000000149011612f]");
  assert_true(attr_same(&all, &all));
  assert_false(attr_same(&all, &list[0]));
}

static void defaults_fill_what_a_call_leaves_out(void **state) {
  (void)state;
  Fixture f = fixture();
  AttrVal flat[] = { int_val(1), int_val(2), int_val(3), int_val(4) };
  Attr at[] = { attr(&f, "groups", int_val(3)), attr(&f, "strides", int_val(2)),
                attr(&f, "padding", (AttrVal){ .kind = AV_List, .n = 4, .at = flat }) };
  OpAttrs *a = opattrs_bind(&conv_op, &(Attrs){ 3, at }, here, f.d);
  assert_non_null(a);
  assert_int_equal(attr_int(a, "groups"), 3);
  const OpAttrVal *s = opattr(a, "strides"), *p = opattr(a, "padding");
  assert_true(s->given && !s->is_list && s->n == 1 && s->ints[0] == 2);
  assert_true(p->n == 4 && p->ints[3] == 4);
  assert_string_equal(attr_str(a, "layout"), "NCHW");
  assert_true(opattr(a, "channels")->none && !opattr(a, "channels")->given);
  assert_true(opattr(a, "out_dtype")->none);
  assert_true(attr_float(a, "eps") == 0.5 && attr_bool(a, "ceil"));
  assert_true(!opattr(a, "sections")->is_list && attr_int(a, "sections") == 2);
}

static void wrong_attributes_are_reported(void **state) {
  (void)state;
  Fixture f = fixture();
  Attr at[] = { attr(&f, "stride", int_val(2)),
                attr(&f, "layout", int_val(2)),
                attr(&f, "out_dtype", (AttrVal){ .kind = AV_Str, .s = "floaty" }) };
  assert_null(opattrs_bind(&conv_op, &(Attrs){ 3, at }, here, f.d));
  assert_int_equal(f.d->n, 4);
  assert_string_equal(f.d->at[0].help, "did you mean strides?");
  assert_non_null(strstr(f.d->at[1].text, "must be a string, found 2"));
  assert_non_null(strstr(f.d->at[2].text, "is not the name of an element type"));
  assert_non_null(strstr(f.d->at[3].text, "must be given"));
}

/* ---- programs ---- */

static Expr *call(Atom callee, int n, const Atom *args) {
  Expr *e = ir_expr(EX_Call, here);
  e->Call.callee = callee;
  e->Call.n_args = n;
  e->Call.args = NEW_N(Atom, n + 1);
  memcpy(e->Call.args, args, sizeof *args * (size_t)n);
  return e;
}
static Expr *add(Atom a, Atom b) { return call(atom_op(&add_op, here), 2, (Atom[]){ a, b }); }
static Atom f32(double v) { return atom_const(tensor_scalar_float(DT_f32, v), here); }
static Atom local(Var *v) { return atom_var(v, here); }

static Fn *function(int n, Var **param, Block *body) {
  Fn *fn = NEW(Fn);
  fn->n = n;
  fn->param = NEW_N(Var *, n + 1);
  for (int i = 0; i < n; i++) fn->param[i] = param[i];
  fn->body = body;
  return fn;
}

static Global *define(Fixture *f, const char *s, Fn *fn) {
  Global *g = NEW(Global);
  g->name = name(f, s);
  g->fn = fn;
  g->index = f->m->globals.n;
  vec_push(&f->m->globals, g);
  map_set(&f->m->global_by_name, map_ptr(g->name), g);
  return g;
}

/* def @main(%x) { let %x1 = fn (%x2) { %0 = add(%x2, %x); %0 }; %1 = %x1(%x); %1 } */
static Var *sample(Fixture *f) {
  Var *x = ir_var(f->cx, name(f, "x"), here), *y = ir_var(f->cx, name(f, "x"), here);
  Dim n = dim_new_sym(f->cx->dims, name(f, "n"), 0);
  x->annot = type_tensor(DT_f32, 1, &n);
  BlockBuilder in = { 0 }, out = { 0 };
  Atom sum = bb_bind(f->cx, &in, add(local(y), local(x)), NULL, BIND_Graph);
  Expr *lit = ir_expr(EX_Fn, here);
  lit->Fn.fn = function(1, &y, bb_done(&in, sum, here));
  Atom g = bb_bind(f->cx, &out, lit, name(f, "x"), BIND_Let);
  Atom r = bb_bind(f->cx, &out, call(g, 1, (Atom[]){ local(x) }), NULL, BIND_Graph);
  Fn *fn = function(1, &x, bb_done(&out, r, here));
  fn->n_dims = 1;
  fn->dim = NEW(Dim);
  fn->dim[0] = n;
  define(f, "main", fn);
  return x;
}

static const char *dump(Fixture *f, PrintOpts o) {
  StrBuf b = { 0 };
  ir_print_module(f->m, &o, &b);
  return buf_text(&b);
}

static void names_and_temporaries_are_unique_in_a_dump(void **state) {
  (void)state;
  Fixture f = fixture();
  sample(&f);
  assert_string_equal(dump(&f, (PrintOpts){ 0 }),
                      "#[version = \"0.0.5\"]\n\n"
                      "def @main(%x: Tensor[(n), float32]) {\n"
                      "  let %x1 = fn (%x2) {\n"
                      "    %0 = add(%x2, %x);\n"
                      "    %0\n"
                      "  };\n"
                      "  %1 = %x1(%x);\n"
                      "  %1\n"
                      "}\n");
  assert_string_equal(dump(&f, (PrintOpts){ .relay = true }),
                      "#[version = \"0.0.5\"]\n\n"
                      "def @main(%x: Tensor[(?), float32]) {\n"
                      "  let %x1 = fn (%x2) {\n"
                      "    %0 = add(%x2, %x);\n"
                      "    %0\n"
                      "  };\n"
                      "  let %t = %x1(%x);\n"
                      "  %t\n"
                      "}\n");
}

static void copies_of_atoms_print_as_what_they_copy(void **state) {
  (void)state;
  Fixture f = fixture();
  Var *x = ir_var(f.cx, name(&f, "x"), here);
  Expr *first = ir_expr(EX_Just, here), *second = ir_expr(EX_Just, here);
  BlockBuilder bb = { 0 };
  first->Just.value = local(x);
  second->Just.value = bb_bind(f.cx, &bb, first, NULL, BIND_Graph);
  bb_bind(f.cx, &bb, second, NULL, BIND_Seq);
  Atom sum = bb_bind(f.cx, &bb, add(second->Just.value, f32(1)), NULL, BIND_Graph);
  define(&f, "main", function(1, &x, bb_done(&bb, sum, here)));
  assert_string_equal(dump(&f, (PrintOpts){ 0 }), "#[version = \"0.0.5\"]\n\n"
                                                  "def @main(%x) {\n"
                                                  "  %0 = add(%x, 1f);\n"
                                                  "  %0\n"
                                                  "}\n");
}

static void constants_are_literals_or_shared_metadata(void **state) {
  (void)state;
  Fixture f = fixture();
  Tensor *a = tensor_new(DT_f32, 1, (int64_t[]){ 2 }), *b = tensor_new(DT_f32, 1, (int64_t[]){ 2 });
  Expr *e = ir_expr(EX_Tuple, here);
  Atom item[] = {
    f32(1), f32(-INFINITY), f32(NAN), f32(1.5),
    atom_const(tensor_scalar_float(DT_f16, 2.5), here),
    atom_const(tensor_scalar_float(DT_bf16, 1.5), here),
    atom_const(tensor_scalar_float(DT_f64, 0.1), here),
    atom_const(tensor_scalar_int(DT_i32, -3), here),
    atom_const(tensor_scalar_int(DT_i64, INT64_MIN), here),
    atom_const(tensor_scalar_int(DT_u8, 255), here),
    atom_const(tensor_scalar_int(DT_u64, -1), here),
    atom_const(tensor_scalar_int(DT_bool, 1), here),
    atom_const(a, here), atom_const(b, here),
  };
  e->Tuple.n_items = (int)(sizeof item / sizeof *item);
  e->Tuple.items = item;
  BlockBuilder bb = { 0 };
  Atom r = bb_bind(f.cx, &bb, e, NULL, BIND_Graph);
  define(&f, "main", function(0, NULL, bb_done(&bb, r, here)));
  const char *text = dump(&f, (PrintOpts){ 0 });
  assert_non_null(strstr(text, "%0 = (1f, -inff, nanf, 1.5f, 2.5f16, 1.5bf16, 0.1f64, -3, "
                               "-9223372036854775808i64, 255u8, 18446744073709551615u64, True, "
                               "meta[relay.Constant][0], meta[relay.Constant][0]);"));
  assert_non_null(strstr(text, "\"P6G0lvBAXt0AAAAAAAAAAAEAAAAAAAAAAQAAAAIgAQACAAAAAAAAAAgAAAAAAAAA"
                               "AAAAAAAAAAA=\""));
}

static void copies_rename_and_leave_the_original_alone(void **state) {
  (void)state;
  Fixture f = fixture();
  sample(&f);
  const char *before = dump(&f, (PrintOpts){ 0 });
  Map vars = { 0 };
  define(&f, "copy", ir_clone_fn(f.cx, f.m->globals.at[0]->fn, &vars));
  StrBuf why = { 0 };
  assert_true(ir_verify(f.m, &why));
  f.m->globals.n = 1;
  assert_string_equal(dump(&f, (PrintOpts){ 0 }), before);
}

static void free_variables_come_in_order_of_use(void **state) {
  (void)state;
  Fixture f = fixture();
  Var *x = sample(&f);
  Fn *lit = f.m->globals.at[0]->fn->body->at[0].value->Fn.fn;
  VarList free_vars = { 0 };
  ir_free_vars(lit, &free_vars);
  assert_int_equal(free_vars.n, 1);
  assert_ptr_equal(free_vars.at[0], x);
}

static void purity_looks_into_branches(void **state) {
  (void)state;
  Fixture f = fixture();
  Expr *pure = add(f32(1), f32(2)), *ref = ir_expr(EX_Ref, here), *e = ir_expr(EX_If, here);
  ref->Ref.value = f32(1);
  BlockBuilder yes = { 0 }, no = { 0 };
  bb_bind(f.cx, &yes, pure, NULL, BIND_Graph);
  e->If.then = e->If.otherwise = bb_done(&yes, f32(1), here);
  assert_true(ir_is_pure(e));
  bb_bind(f.cx, &no, ref, NULL, BIND_Graph);
  e->If.otherwise = bb_done(&no, f32(1), here);
  assert_false(ir_is_pure(e));
}

static void ill_formed_modules_are_found(void **state) {
  (void)state;
  Fixture f = fixture();
  StrBuf why = { 0 };
  Var *x = sample(&f);
  assert_true(ir_verify(f.m, &why));
  Block *body = f.m->globals.at[0]->fn->body;
  Block *inner = body->at[0].value->Fn.fn->body;
  Atom result = body->result;
  body->result = inner->result;
  assert_false(ir_verify(f.m, &why));
  assert_non_null(strstr(why.s, "in @main: variable"));
  assert_non_null(strstr(why.s, "outside the block"));
  body->result = result;
  why = (StrBuf){ 0 };
  inner->at[0].var = x;
  assert_false(ir_verify(f.m, &why));
  assert_non_null(strstr(why.s, "bound twice"));
}

static void a_hundred_thousand_bindings_are_a_line_each(void **state) {
  (void)state;
  Fixture f = fixture();
  BlockBuilder bb = { 0 };
  Atom a = f32(1);
  for (int i = 0; i < 100000; i++)
    a = bb_bind(f.cx, &bb, add(a, a), i % 2 ? name(&f, "x") : NULL, i % 2 ? BIND_Let : BIND_Graph);
  Fn *fn = function(0, NULL, bb_done(&bb, a, here));
  define(&f, "main", fn);
  StrBuf why = { 0 };
  assert_true(ir_verify(f.m, &why));
  const char *text = dump(&f, (PrintOpts){ 0 });
  assert_non_null(strstr(text, "let %x49999 = add(%49999, %49999);\n  %x49999\n}\n"));
  Map vars = { 0 };
  assert_int_equal(ir_clone_fn(f.cx, fn, &vars)->body->n, 100000);
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(types_print_as_in_the_language),
    cmocka_unit_test(schemes_are_equal_up_to_renaming),
    cmocka_unit_test(substitution_shares_what_does_not_change),
    cmocka_unit_test(attributes_print_with_suffixes_and_escapes),
    cmocka_unit_test(defaults_fill_what_a_call_leaves_out),
    cmocka_unit_test(wrong_attributes_are_reported),
    cmocka_unit_test(names_and_temporaries_are_unique_in_a_dump),
    cmocka_unit_test(copies_of_atoms_print_as_what_they_copy),
    cmocka_unit_test(constants_are_literals_or_shared_metadata),
    cmocka_unit_test(copies_rename_and_leave_the_original_alone),
    cmocka_unit_test(free_variables_come_in_order_of_use),
    cmocka_unit_test(purity_looks_into_branches),
    cmocka_unit_test(ill_formed_modules_are_found),
    cmocka_unit_test(a_hundred_thousand_bindings_are_a_line_each),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
