/* parser_test.c -- reading programs: every form of the language, graph names
 * outside their scope, metadata, mistakes, the formatter, long and deep texts. */
#include "tests/unit/test.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "parser/parser.h"

static const char *const op_names[] = {
  "add", "subtract", "multiply", "divide", "equal", "less", "greater", "negative", "logical_not",
  "logical_and", "logical_or", "tanh", "exp", "nn.dense", "concatenate", "reshape", "cumsum",
};
enum { N_OPS = sizeof op_names / sizeof *op_names };

typedef struct { IrCtx *cx;  Sources *src;  Diags *d;  Module *m; } Read;

static Read reader(void) {
  Read r = { .cx = irctx_new(), .src = NEW(Sources) };
  OpDef *ops = NEW_N(OpDef, N_OPS);
  const OpDef **at = NEW_N(const OpDef *, N_OPS);
  for (int i = 0; i < N_OPS; i++) {
    OpDef op = { .name = op_names[i], .optional = 2, .args = { { .name = "a" }, { .name = "b" } } };
    memcpy(&ops[i], &op, sizeof op);
    at[i] = &ops[i];
  }
  irctx_set_ops(r.cx, at, N_OPS);
  r.d = diags_new(r.src);
  return r;
}

static Read read_text(const char *text) {
  Read r = reader();
  r.m = parse_module(r.cx, r.src, source_add(r.src, "t.rly", text, strlen(text)), r.d);
  return r;
}

static const char *messages(const Read *r) {
  StrBuf b = {0};
  diag_render(r->d, &b, false);
  return buf_text(&b);
}

static const char *printed(const Module *m) {
  StrBuf b = {0}, why = {0};
  PrintOpts o = {0};
  if (!ir_verify(m, &why)) fail_msg("%s", buf_text(&why));
  ir_print_module(m, &o, &b);
  return buf_text(&b);
}

/* The printed program; it must read back and print the same. */
static const char *round_trip(const char *text) {
  Read r = read_text(text);
  if (!r.m) fail_msg("%s", messages(&r));
  const char *once = printed(r.m);
  Read s = read_text(once);
  if (!s.m) fail_msg("%s\n%s", messages(&s), once);
  assert_string_equal(printed(s.m), once);
  return once;
}

/* The printed body of @main, whose parameters are %a %b %c: float32, %p: bool. */
static const char *body(const char *text) {
  const char *s = round_trip(str_fmt(
    "def @main(%%a: float32, %%b: float32, %%c: float32, %%p: bool) {\n%s\n}", text));
  s = strchr(strstr(s, "%p: bool"), '{') + 2;
  char *out = str_fmt("%s", s);
  out[strlen(out) - 2] = 0;
  return out;
}

static void refused(const char *text, const char *want) {
  Read r = read_text(text);
  assert_null(r.m);
  if (!strstr(messages(&r), want)) fail_msg("wanted %s in\n%s", want, messages(&r));
}

/* ---- expressions ------------------------------------------------------------ */

static void operators_bind_as_in_the_table(void **state) {
  (void)state;
  assert_string_equal(body("%a - %b - %c"),
                      "  %0 = subtract(%a, %b);\n  %1 = subtract(%0, %c);\n  %1\n");
  assert_string_equal(body("%a + %b * %c"),
                      "  %0 = multiply(%b, %c);\n  %1 = add(%a, %0);\n  %1\n");
  assert_string_equal(body("-%a * %b"), "  %0 = negative(%a);\n  %1 = multiply(%0, %b);\n  %1\n");
  assert_string_equal(body("%a -1f"), "  %0 = subtract(%a, 1f);\n  %0\n");
  assert_string_equal(body("%a/%b"), "  %0 = divide(%a, %b);\n  %0\n");
  assert_string_equal(body("%p && !%p || %a < %b"),
                      "  %0 = logical_not(%p);\n  %1 = logical_and(%p, %0);\n  %2 = less(%a, %b);\n"
                      "  %3 = logical_or(%1, %2);\n  %3\n");
}

static void a_slash_may_be_part_of_a_name(void **state) {
  (void)state;
  const char *s = round_trip("def @main(%a/b: float32, %c: float32) { %a/b + %c/2f }");
  assert_non_null(strstr(s, "divide(%c, 2f)"));
}

static void evaluation_order_is_that_of_the_text(void **state) {
  (void)state;
  assert_string_equal(body("(tanh(%a), exp(%b)).1"),
                      "  %0 = tanh(%a);\n  %1 = exp(%b);\n  %2 = (%0, %1);\n  %3 = %2.1;\n  %3\n");
}

static void numbers_carry_their_type(void **state) {
  (void)state;
  const char *all =
      "(1, 3000000000, -2147483648, 7i8, 255u8, 18446744073709551615u64, -9223372036854775808, "
      "1f, 2.5, 1.5bf16, 2f16, 1e-45f, 3.4028235e38f, 0.1f64, -0f, inff, -inff64, nanf)";
  const char *s = body(all);
  assert_non_null(strstr(s, "(1, 3000000000i64, -2147483648, 7i8, 255u8, 18446744073709551615u64, "
                            "-9223372036854775808i64, 1f, 2.5f, 1.5bf16, 2f16, 1e-45f, "));
  assert_non_null(strstr(s, "0.1f64, -0f, inff, -inff64, nanf)"));
}

static void projections_nest_without_parentheses(void **state) {
  (void)state;
  assert_string_equal(body("((%a, %b), %c).0.1"),
                      "  %0 = (%a, %b);\n  %1 = (%0, %c);\n  %2 = %1.0;\n  %3 = %2.1;\n  %3\n");
}

static void control_flow_is_an_expression(void **state) {
  (void)state;
  const char *s = body(
      "let %x = if (%p) { 1f } else if (%a < %b) { %a } else { let %t = exp(%b); %t }; tanh(%x)");
  assert_non_null(strstr(s, "let %x = if (%p) {\n    1f\n  } else {"));
  s = round_trip(
      "type T { A(int32), B }\n"
      "def @main(%t: T) { let %x = match? (%t) { A(%n) => { let %m = %n + 1; %m }, B => 3 }; %x }");
  assert_non_null(strstr(s, "match? (%t) {"));
}

static void bound_sequences_are_spliced(void **state) {
  (void)state;
  assert_string_equal(
      body("let %x = let %y = 1f; %7 = exp(%y); tanh(%7); (let %y = 2f; add(%x, %y))"),
      "  let %y = 1f;\n  %0 = exp(%y);\n  let %x = tanh(%0);\n  let %y1 = 2f;\n"
      "  %1 = add(%x, %y1);\n  %1\n");
}

static void attributes_take_every_value(void **state) {
  (void)state;
  const char *s = body(
      "nn.dense(%a, %b, units=None, k=(1, 1), one=(2), l=[1, [2, -3]], s=\"a\\\"\\n\\u{263a}\", "
      "t=True, f=1e-05f, dtype=int8, x.y=1)");
  assert_non_null(
      strstr(s, "units=None, k=[1, 1], one=2, l=[1, [2, -3]], s=\"a\\\"\\n\xe2\x98\xba\", t=True, "
                "f=1e-5f, dtype=\"int8\", x.y=1"));
}

static void constructors_and_operators_are_values(void **state) {
  (void)state;
  const char *s = round_trip("type L[A] { Cons(A, L[A]), Nil }\n"
                             "def @id[A](%x: A) -> A { %x }\n"
                             "def @main() { (Cons, Nil, add, @id, @id(@id)(1)) }");
  assert_non_null(strstr(s, "%0 = Nil;"));
}

/* ---- definitions ---------------------------------------------------------------- */

static const Fn *main_of(const Read *r) { return module_find(r->m, "main")->fn; }

static void dims_are_bound_by_the_outermost_parameter(void **state) {
  (void)state;
  Read r = read_text(
      "def @main[A, m](%x: Tensor[(n, 2 * n + m), float32], %a: A) -> Tensor[(n), float32] {\n"
      "  fn (%y: Tensor[(n, k), float32], %f: fn (Tensor[(j), float32]) -> A) { %y }\n}");
  assert_non_null(r.m);
  const Fn *f = main_of(&r), *g = f->body->at[0].value->Fn.fn;
  assert_int_equal(f->n_vars, 1);
  assert_int_equal(f->n_dims, 2);
  assert_string_equal(f->dim[0]->name, "m");
  assert_ptr_equal(f->param[0]->annot->tensor.dim[0], f->dim[1]);
  assert_ptr_equal(f->ret->tensor.dim[0], f->dim[1]);
  assert_int_equal(g->n_dims, 2);
  assert_ptr_equal(g->param[0]->annot->tensor.dim[0], f->dim[1]);
  assert_int_equal(f->dim[1]->level, 1);
  assert_int_equal(g->dim[1]->level, 2);
  round_trip("def @main(%f: fn [A, n](A, Tensor[(n), float32]) -> A, %r: ref((float32,))) { %f }");
}

static void match_cast_binds_dims_to_the_end_of_the_block(void **state) {
  (void)state;
  round_trip("def @main(%x: Tensor[(?, ?), float32]) {\n"
             "  let %y = match_cast(%x, Tensor[(n, 4), float32]);\n  let %z: Tensor[(n, 4), "
             "float32] = %y;\n  %z\n}");
}

static void definitions_come_in_any_order(void **state) {
  (void)state;
  const char *s =
      round_trip("def @even(%n: int32) { if (%n == 0) { True } else { @odd(%n - 1) } }\n"
                 "/// Of odd numbers.\n"
                 "def @odd(%n: int32) { if (%n == 0) { False } else { @even(%n - 1) } }\n"
                 "def @f(%t: T) { %t } type T { C(S) } extern type S");
  assert_non_null(strstr(s, "/// Of odd numbers.\ndef @odd"));
}

static void a_bare_expression_is_main(void **state) {
  (void)state;
  const char *s =
      round_trip("free_var %x: Tensor[(n), float32];\nfree_var %y;\n%0 = add(%x, %y);\ntanh(%0)");
  assert_non_null(strstr(s, "def @main(%x: Tensor[(n), float32], %y) {"));
}

static void comments_and_version_lines_are_read(void **state) {
  (void)state;
  round_trip("#[version = \"0.0.5\"]\n// c\n/* a /* nested */ b */ def @main() { /* x */ 1 /* "
             "ty=int32 */ }\r\n");
  refused("#[version = \"0.0.6\"]\ndef @main() { 1 }", "E0107");
}

/* ---- graph names ------------------------------------------------------------------ */

static void graph_names_reach_outside_their_scope(void **state) {
  (void)state;
  assert_string_equal(body("if (%p) { %0 = exp(%a); %1 = tanh(%0); %1 } else { %1 }"),
                      "  %0 = exp(%a);\n  %1 = tanh(%0);\n  %2 = if (%p) {\n    %1\n  } else {\n   "
                      " %1\n  };\n  %2\n");
  const char *s =
      body("%3 = fn () { %0 = (let %q = exp(%a); add(%q, %b)); %1 = tanh(%0); %1 }; (%3, %0)");
  assert_non_null(
      strstr(s, "  let %q = exp(%a);\n  %0 = add(%q, %b);\n  %1 = fn () {\n    %2 = tanh(%0);"));
  refused("def @main(%a: float32) { let %f = fn (%x: float32) { %0 = exp(%x); %0 }; add(%a, %0) }",
          "%x, which this needs, is not defined");
  refused("def @main(%a: float32) { %0 = exp(%a); %0 = exp(%a); %0 }", "%0 is defined twice");
  refused("def @f(%a: float32) { %0 = exp(%a); %0 } def @main() { %0 }",
          "belongs to another definition");
}

static void a_moved_chain_takes_linear_time(void **state) {
  (void)state;
  enum { N = 20000 };
  StrBuf b = {0};
  buf_str(&b, "def @main(%p: bool, %x: float32) { if (%p) { %0 = exp(%x);\n");
  for (int i = 1; i < N; i++) buf_fmt(&b, "%%%d = exp(%%%d);\n", i, i - 1);
  buf_fmt(&b, "%%%d } else { %%%d } }", N - 1, N - 1);
  Read r = read_text(b.s);
  assert_non_null(r.m);
  assert_int_equal(main_of(&r)->body->n, N + 1);
}

/* ---- metadata ------------------------------------------------------------------------ */

#define ARRAY(rest) "\"P6G0lvBAXt0AAAAAAAAAAAEAAAAAAAAA" rest "\""

static const char *meta_text(const char *def, const char *nodes, const char *arrays) {
  return str_fmt("%s\n#[metadata]\n{\"root\": 1, \"nodes\": [{\"type_key\": \"\"}, %s], "
                 "\"b64ndarrays\": [%s]}",
                 def, nodes, arrays);
}

static void constants_come_from_the_metadata(void **state) {
  (void)state;
  const char *nodes = "{\"type_key\": \"Map\", \"keys\": [\"relay.Constant\"], \"data\": [2]}, "
                      "{\"type_key\": \"Array\", \"data\": [3]}, "
                      "{\"type_key\": \"relay.Constant\", \"attrs\": {\"data\": \"0\"}}";
  const char *def = "def @main() { meta[relay.Constant][0] }";
  const char *text =
      meta_text(def, nodes, ARRAY("AQAAAAAgAQADAAAAAAAAAAwAAAAAAAAAAAAAAAIAAAACAAAA"));
  Read r = read_text(text);
  assert_non_null(r.m);
  const Tensor *t = main_of(&r)->body->result.cst;
  assert_int_equal(t->dtype, DT_i32);
  assert_int_equal(t->dim[0], 3);
  assert_int_equal(((const int32_t *)t->bytes)[1], 2);
  round_trip(text);
  refused(meta_text(def, nodes, ARRAY("AQAAAAAgAQADAAAAAAAAAAwAAAAAAAAAAAAAAAIAAAA=")), "E0108");
  refused(meta_text(def, nodes, "\"AAAA\""), "magic");
  refused(meta_text("def @main() { meta[relay.Constant][1] }", nodes, ARRAY("")), "E0109");
  refused("def @main() { meta[relay.Constant][0] }", "E0109");
  refused("def @main() { 1 }\n#[metadata]\n{\"root\": 1, ", "E0108");
}

static void attribute_objects_become_attributes(void **state) {
  (void)state;
  const char *nodes =
      "{\"type_key\": \"Map\", \"keys\": [\"relay.attrs.ScanopAttrs\"], \"data\": [2]}, "
      "{\"type_key\": \"Array\", \"data\": [3]}, "
      "{\"type_key\": \"relay.attrs.ScanopAttrs\", \"attrs\": {\"axis\": \"4\", \"dtype\": \"\", "
      "\"exclusive\": \"0\"}}, "
      "{\"type_key\": \"IntImm\", \"attrs\": {\"dtype\": \"int32\", \"span\": \"0\", \"value\": "
      "\"7\"}}";
  Read r = read_text(meta_text(
      "def @main(%x: float32) { cumsum(%x, meta[relay.attrs.ScanopAttrs][0]) }", nodes, ""));
  if (!r.m) fail_msg("%s", messages(&r));
  const Attrs *a = &main_of(&r)->body->at[0].value->Call.attrs;
  assert_int_equal(attrs_find(a, "axis")->i, 7);
  assert_int_equal(attrs_find(a, "exclusive")->kind, AV_None);
  assert_string_equal(attrs_find(a, "dtype")->s, "");
}

/* ---- mistakes -------------------------------------------------------------------------- */

static void mistakes_say_what_would_work(void **state) {
  (void)state;
  refused("def @main(%x: Tensor[4, float32]) { %x }", "a vector of 4 is Tensor[(4), float32]");
  refused("def @main(%x: float32) { nn.dens(%x) }", "did you mean nn.dense?");
  refused("def @main(%x: float32) { dense(%x) }", "did you mean nn.dense?");
  refused("def @main(%value: float32) { %valeu }", "did you mean %value?");
  refused("def @main(%x: float32, %x: float32) { %x }", "parameter %x is defined twice");
  refused("def @f() { 1 } def @f() { 2 }", "@f is defined twice");
  refused("type T { A, A }", "constructor A is defined twice");
  refused("def @main() { 1; }", "the last expression is the value");
  refused("def @main(%p: bool) { if (%p) { 1 } }", "every if has an else");
  refused("def @main() -> Tensor[(n), float32] { 1 }", "E0314");
  refused("def @main[n](%a: n, %x: Tensor[(n), float32]) { %x }", "E0203");
  refused("def @main() { 9223372036854775808 }", "E0104");
  refused("def @main() { 300i8 }", "it does not fit int8");
  refused("def @main() { \"a\" }", "a string can only be");
  refused("def @main(%x: float32) { (tanh(%x) }", "opened here");
  refused("def @main() { @main(axis=1) }", "@main does not take attributes");
  refused("def @main() { 1 } /* open", "the comment is not closed");
  refused("def @main() { add(1, 2, text=\"\\q\") }", "E0105");
  refused("def @main() { 1 } \xff", "not valid UTF-8");
}

static void one_run_reports_many_mistakes(void **state) {
  (void)state;
  Read r = read_text("def @a() { let %x = 1 +; let %y = ); %z }\n"
                     "def @b( { 1 }\n"
                     "type T { A(float33) }\n"
                     "def @c() { %q }\n");
  assert_null(r.m);
  assert_true(r.d->n_errors >= 5);
  assert_true(r.d->n_errors <= 7);
}

static void depth_has_a_limit_and_length_has_none(void **state) {
  (void)state;
  static const char *const open[] = {"(",       "{", "-(",    "f(",     "if (%p) {",
                                     "fn () {", "[", "Cons(", "match ("};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
    StrBuf b = {0};
    buf_str(&b, "def @main(%p: bool) { ");
    for (int k = 0; k < 5000; k++) buf_str(&b, open[i]);
    Read r = read_text(b.s);
    assert_null(r.m);
  }
  StrBuf b = {0};
  buf_str(&b, "def @main(%x: float32) { %x");
  for (int k = 0; k < 50000; k++) buf_str(&b, " + 1f");
  buf_str(&b, " }");
  Read r = read_text(b.s);
  assert_non_null(r.m);
}

/* ---- programs of several files ------------------------------------------------------------ */

static const TextFile library[] = {
  { "prelude.rly",
    "type List[A] { Cons(A, List[A]), Nil }\n"
    "def @map[A, B](%f: fn (A) -> B, %l: List[A]) -> List[B] {\n"
    "  match (%l) { Cons(%h, %t) => Cons(%f(%h), @map(%f, %t)), Nil => Nil } }\n"
    "def @hd[A](%l: List[A]) -> A { match? (%l) { Cons(%h, _) => %h } }\n", 0 },
  { "nn.rly", "def @lin(%x: float32) { @half(%x) } def @half(%x: float32) { %x / 2f }", 0 },
  { "loop.rly", "import \"loop2.rly\"", 0 },
  { "loop2.rly", "import \"loop.rly\"", 0 },
};

static Read load(const char *text) {
  TextFile lib[4];
  Read r = reader();
  for (int i = 0; i < 4; i++) lib[i] = library[i], lib[i].n = strlen(library[i].text);
  r.m = load_program(r.cx, r.src, (TextFile){ "main.rly", text, strlen(text) }, lib, 4, r.d);
  return r;
}

static void the_library_gives_what_is_named(void **state) {
  (void)state;
  Read r = load("import \"nn.rly\"\ndef @main(%x: float32) { Cons(@lin(%x), Nil) }");
  if (!r.m) fail_msg("%s", messages(&r));
  assert_int_equal(r.m->globals.n, 3);
  assert_false(module_find(r.m, "main")->library);
  assert_true(module_find(r.m, "half")->library);
  assert_null(module_find(r.m, "map"));
  r = load("import \"none.rly\"\ndef @main() { 1 }");
  assert_non_null(strstr(messages(&r), "E0003"));
  r = load("import \"loop.rly\"\ndef @main() { 1 }");
  assert_non_null(strstr(messages(&r), "E0002"));
}

static void the_programs_definitions_replace_the_librarys(void **state) {
  (void)state;
  Read r = load("type List[A] { Cons(A, List[A]), Nil }\ndef @hd[A](%l: List[A]) -> int32 { 3 }\n"
                "def @main(%l: List[int32]) { @map(@hd, Cons(%l, Nil)) }");
  if (!r.m) fail_msg("%s", messages(&r));
  assert_int_equal(r.m->types.n, 1);
  assert_false(module_find(r.m, "hd")->library);
  assert_true(module_find(r.m, "map")->library);
}

/* ---- the formatter ----------------------------------------------------------------------------
 */

static void formats(const char *from, const char *to) {
  Diags *d = diags_new(NEW(Sources));
  char *once = format_source(from, strlen(from), d);
  assert_non_null(once);
  assert_string_equal(once, to);
  assert_string_equal(format_source(once, strlen(once), d), to);
}

static void formatting_keeps_comments_and_is_idempotent(void **state) {
  (void)state;
  formats("def @f(%x:float32,%y : bool)->float32{%x+ -1f}",
          "def @f(%x: float32, %y: bool) -> float32 { %x + -1f }\n");
  formats(
      "// a\ndef @f ( ) { // b\nlet %a=f( %x ,axis = 1 ); /* c */ %a } // d\n// e\ntype T{A(B),C}",
      "// a\ndef @f() { // b\n  let %a = f(%x, axis=1); /* c */\n  %a\n} // d\n\n// e\ntype T { "
      "A(B), C }\n");
  formats("def @f(%x: float32, // one\n%y: float32) {\nmatch(%x){A(_)=>{1},\n\n\nB=>2,}}",
          "def @f(%x: float32, // one\n    %y: float32) {\n  match (%x) {\n    A(_) => { 1 },\n\n  "
          "  B => 2,\n  }\n}\n");
  formats("def @f() { g(let %x = 1; %x) }", "def @f() {\n  g(\n    let %x = 1;\n    %x\n  )\n}\n");
  formats("", "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(operators_bind_as_in_the_table),
    cmocka_unit_test(a_slash_may_be_part_of_a_name),
    cmocka_unit_test(evaluation_order_is_that_of_the_text),
    cmocka_unit_test(numbers_carry_their_type),
    cmocka_unit_test(projections_nest_without_parentheses),
    cmocka_unit_test(control_flow_is_an_expression),
    cmocka_unit_test(bound_sequences_are_spliced),
    cmocka_unit_test(attributes_take_every_value),
    cmocka_unit_test(constructors_and_operators_are_values),
    cmocka_unit_test(dims_are_bound_by_the_outermost_parameter),
    cmocka_unit_test(match_cast_binds_dims_to_the_end_of_the_block),
    cmocka_unit_test(definitions_come_in_any_order),
    cmocka_unit_test(a_bare_expression_is_main),
    cmocka_unit_test(comments_and_version_lines_are_read),
    cmocka_unit_test(graph_names_reach_outside_their_scope),
    cmocka_unit_test(a_moved_chain_takes_linear_time),
    cmocka_unit_test(constants_come_from_the_metadata),
    cmocka_unit_test(attribute_objects_become_attributes),
    cmocka_unit_test(mistakes_say_what_would_work),
    cmocka_unit_test(one_run_reports_many_mistakes),
    cmocka_unit_test(depth_has_a_limit_and_length_has_none),
    cmocka_unit_test(the_library_gives_what_is_named),
    cmocka_unit_test(the_programs_definitions_replace_the_librarys),
    cmocka_unit_test(formatting_keeps_comments_and_is_idempotent),
  };
  mem_init();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
