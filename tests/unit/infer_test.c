/* infer_test.c -- type inference, from text to types, messages, obligations. */
#include "tests/unit/test.h"
#include <string.h>
#include <time.h>
#include "parser/parser.h"
#include "tests/unit/infer_ops.h"
#include "typeinfer/infer.h"

typedef struct { Module *m; Diags *d; bool ok; } Checked;

static const char list_decl[] = "type List[A] { Cons(A, List[A]), Nil, }\n"
                                "type Option[A] { Some(A), None, }\n";

static Checked check(const char *program) {
  Checked c = {0};
  IrCtx *cx = irctx_new();
  irctx_set_ops(cx, fake_ops, N_FAKE_OPS);
  Sources *src = NEW(Sources);
  char *text = str_fmt("%s%s", list_decl, program);
  uint32_t file = source_add(src, "test.rly", text, strlen(text));
  c.d = diags_new(src);
  c.m = parse_module(cx, src, file, c.d);
  if (c.m) c.ok = typeinfer(c.m, c.d);
  StrBuf why = {0};
  if (c.ok && !ir_verify(c.m, &why)) fail_msg("%s", buf_text(&why));
  return c;
}

static const char *rendered(const Checked *c) {
  StrBuf b = {0};
  diag_render(c->d, &b, false);
  return buf_text(&b);
}

static Type *type_of(const Checked *c, const char *global) {
  Global *g = module_find(c->m, global);
  assert_non_null(g);
  return g->type;
}

/* The type of @main is want. */
static void gives(const char *program, const char *want) {
  Checked c = check(program);
  if (!c.ok) fail_msg("%s\n%s", program, rendered(&c));
  assert_string_equal(type_text(type_of(&c, "main")), want);
}

/* The result of @main is want. */
static void returns(const char *program, const char *want) {
  Checked c = check(program);
  if (!c.ok) fail_msg("%s\n%s", program, rendered(&c));
  assert_string_equal(type_text(type_of(&c, "main")->fn.ret), want);
}

static void refuses(const char *program, DiagCode code, const char *words) {
  Checked c = check(program);
  assert_non_null(c.m);
  assert_false(c.ok);
  if (c.d->at[0].code != code || !strstr(c.d->at[0].text, words))
    fail_msg("%s\nwanted %s %s, got\n%s", program, diag_code_name(code), words, rendered(&c));
}

static Expr *first_expr(const Checked *c, const char *global, ExprKind kind) {
  Block *b = module_find(c->m, global)->fn->body;
  for (int i = 0; i < b->n; i++)
    if (b->at[i].value->kind == kind) return b->at[i].value;
  fail_msg("no such expression in @%s", global);
  return NULL;
}

static void obliges(const char *program, ExprKind kind, ObligeKind want, const char *what) {
  Checked c = check(program);
  if (!c.ok) fail_msg("%s\n%s", program, rendered(&c));
  Expr *e = first_expr(&c, "main", kind);
  for (int i = 0; i < e->n_oblige; i++)
    if (e->oblige[i].kind == want && strstr(e->oblige[i].what, what)) return;
  fail_msg("%s\nno obligation \"%s\" among %d", program, what, e->n_oblige);
}

/* ---- structure ---- */

static void constants_have_the_type_they_are_written_with(void **s) {
  (void)s;
  returns("def @main() { (1, 2f, 3i64, True, ()) }", "(int32, float32, int64, bool, ())");
}

static void results_are_inferred_from_operators(void **s) {
  (void)s;
  returns("def @main(%x: Tensor[(4, 8), float32], %w: Tensor[(3, 8), float32]) { nn.dense(%x, "
          "%w) }",
          "Tensor[(4, 3), float32]");
  returns("def @main(%x: Tensor[(4, 1), float32], %y: Tensor[(8), float32]) { less(%x, %y) }",
          "Tensor[(4, 8), bool]");
}

static void identity_is_used_at_two_types(void **s) {
  (void)s;
  returns("def @main() { let %id = fn[A](%x: A) -> A { %x }; (%id(1), %id(())) }", "(int32, ())");
  returns("def @main() { let %id = fn (%x) { %x }; (%id(1), %id(())) }", "(int32, ())");
  returns("def @main() { let %f = fn () { let %id = fn (%x) { %x }; (%id(1), %id(2f)) }; %f() }",
          "(int32, float32)");
}

static void variables_of_the_environment_are_not_generalised(void **s) {
  (void)s;
  refuses("def @main() { let %f = fn (%x) { let %g = fn (%y) { %x }; (add(%g(1), 1), add(%g(1), "
          "1f)) }; %f(1) }",
          E0308, "rhs must be of int32");
}

static void refs_are_not_generalised(void **s) {
  (void)s;
  refuses("def @main() { let %r = ref(Nil); ref_write(%r, Cons(1, Nil)); ref_write(%r, Cons(2f, "
          "Nil)); 0 }",
          E0301, "expected");
}

static void generic_recursion_needs_no_annotation(void **s) {
  (void)s;
  gives("def @main(%xs) { match (%xs) { Cons(%h, %t) => { Cons(%h, @main(%t)) }, Nil => { Nil } "
          "} }",
        "fn [A](List[A]) -> List[A]");
  gives("def @main[A](%xs: List[A]) -> List[A] { match (%xs) { Cons(%h, %t) => { Cons(%h, "
          "@main(%t)) }, Nil => { Nil } } }",
        "fn [A](List[A]) -> List[A]");
}

static void polymorphic_recursion_works_with_an_annotation(void **s) {
  (void)s;
  gives("def @main[A](%n: int32, %x: A) -> int32 { if (equal(%n, 0)) { 0 } else { "
          "@main(subtract(%n, 1), (%x, %x)) } }",
        "fn [A](int32, A) -> int32");
}

static void mutual_recursion_is_inferred_together(void **s) {
  (void)s;
  gives("def @main(%n: int32) { if (equal(%n, 0)) { True } else { @odd(subtract(%n, 1)) } }\n"
        "def @odd(%n: int32) { if (equal(%n, 0)) { False } else { @main(subtract(%n, 1)) } }",
        "fn (int32) -> bool");
}

static void operators_and_constructors_are_values(void **s) {
  (void)s;
  returns("def @app(%f, %x) { %f(%x, %x) }\ndef @main() { @app(add, 1f) }", "float32");
  returns("def @app(%f, %x) { %f(%x) }\ndef @main() { @app(Some, 1f) }", "Option[float32]");
}

static void an_operator_waits_for_its_operand(void **s) {
  (void)s;
  returns("def @main() { let %f = fn (%x) { add(%x, 1f) }; %f(2f) }", "float32");
  returns("def @main(%x: Tensor[(3), float32]) { let %f = fn (%p) { tanh(%p.0) }; %f((%x, 1)) }",
          "Tensor[(3), float32]");
}

static void a_function_that_contains_itself_is_an_infinite_type(void **s) {
  (void)s;
  refuses("def @main() { let %f = fn (%x) { %x(%x) }; 0 }", E0303, "infinite type");
}

static void an_unused_unknown_is_reported_once(void **s) {
  (void)s;
  Checked c = check("def @main() { let %f = fn (%x) { add(add(%x, 1f), add(%x, 2f)) }; 0 }");
  assert_false(c.ok);
  assert_int_equal(c.d->n_errors, 1);
  assert_int_equal(c.d->at[0].code, E0302);
}

static void mistakes_of_structure_are_named(void **s) {
  (void)s;
  refuses("def @f(%x: int32) { %x }\ndef @main() { @f(1, 2) }", E0304, "@f is called with 2");
  refuses("def @main(%x: int32) { %x(1) }", E0313, "%x is not a function");
  refuses("def @main(%x: (int32, bool)) { %x.2 }", E0305, "no field 2");
  refuses("def @main(%x: int32) { if (%x) { 1 } else { 2 } }", E0309, "int32");
  refuses("def @main(%x: bool) { if (%x) { 1 } else { 2f } }",
          E0301, "expected int32, found float32");
  refuses("def @f(%x: float32) { %x }\ndef @main() { @f(1) }",
          E0301, "expected float32, found int32");
  refuses("def @main(%x: Tensor[(3), float32]) { ref_read(%x) }", E0301, "expected ref(");
  refuses("def @main(%x: int32) { tanh(%x) }",
          E0308, "tanh: x must be of float elements, found int32");
  refuses("def @main(%x: float32) { concatenate(%x) }", E0308, "must be a tuple of tensors");
}

static void one_mistake_is_one_message(void **s) {
  (void)s;
  Checked c = check("def @main(%x: Tensor[(3), float32], %y: Tensor[(4), float32]) {\n"
                    "  let %a = add(%x, %y); let %b = tanh(%a); let %c = (%b, add(%b, %a)); "
                            "tanh(%c.1) }");
  assert_int_equal(c.d->n_errors, 1);
}

static void several_mistakes_come_in_the_order_of_the_text(void **s) {
  (void)s;
  Checked c = check("def @main(%x: Tensor[(3), float32], %y: Tensor[(4), float32]) {\n"
                    "  let %f = fn (%q) { add(%q, 1f) };\n  let %b = add(%x, %y);\n  let %c = "
                            "tanh(1); %b }");
  assert_int_equal(c.d->n_errors, 3);
  assert_int_equal(c.d->at[0].code, E0302);
  assert_int_equal(c.d->at[1].code, E0310);
  assert_int_equal(c.d->at[2].code, E0308);
}

/* ---- dims ---- */

static void named_dims_flow_through_calls(void **s) {
  (void)s;
  const char *f = "def @f(%q: Tensor[(n, d), float32], %k: Tensor[(m, d), float32]) { "
          "nn.dense(%q, %k) }\n";
  returns(str_fmt("%s%s",
          f, "def @main(%q: Tensor[(3, 5), float32], %k: Tensor[(?, 5), float32]) { @f(%q, %k) }"),
          "Tensor[(3, ?), float32]");
  refuses(str_fmt("%s%s",
          f, "def @main(%q: Tensor[(3, 5), float32], %k: Tensor[(2, 6), float32]) { @f(%q, %k) }"),
          E0312, "dimension d stands for both 5 and 6");
}

static void arithmetic_on_dims_is_proved(void **s) {
  (void)s;
  returns("def @main(%x: Tensor[(n), float32]) -> Tensor[(2 * n + 1), float32] {\n"
          "  concatenate((%x, %x, match_cast(%x, Tensor[(?), float32]), %x)); concatenate((%x, "
                  "@one(), %x)) }\n"
          "def @one() -> Tensor[(1), float32] { @one() }", "Tensor[(2 * n + 1), float32]");
  refuses("def @main(%x: Tensor[(n), float32]) -> Tensor[(n + 1), float32] { %x }", E0301,
          "expected Tensor[(n + 1), float32], found Tensor[(n), float32]");
}

static void the_same_extent_on_both_sides_stays_static(void **s) {
  (void)s;
  const char *xs = "def @main(%c: bool, %x: Tensor[(3, 4), float32], %y: Tensor[(?, 4), float32]) ";
  returns(str_fmt("%s%s", xs, "{ if (%c) { %x } else { %y } }"), "Tensor[(?, 4), float32]");
  returns(str_fmt("%s%s", xs, "{ Cons(%x, Cons(%y, Nil)) }"), "List[Tensor[(?, 4), float32]]");
  returns(str_fmt("%s%s", xs, "{ Cons(%x, Cons(%x, Nil)) }"), "List[Tensor[(3, 4), float32]]");
}

static void a_parameter_keeps_its_unknown_extents(void **s) {
  (void)s;                                        /* C01 of the catalogue */
  gives("def @main(%t: Tensor[(?, 1), float32], %f: Tensor[(?, ?), float32], %c: bool) { if "
          "(%c) { %t } else { %f } }",
        "fn (Tensor[(?, 1), float32], Tensor[(?, ?), float32], bool) -> Tensor[(?, ?), float32]");
}

static void an_unknown_axis_equals_itself(void **s) {
  (void)s;                                        /* D12 */
  Checked c = check("def @main(%x: Tensor[(?, ?), float32]) { nn.dense(%x, %x) }");
  assert_true(c.ok);
  assert_int_equal(first_expr(&c, "main", EX_Call)->n_oblige, 0);
}

static void no_axis_of_a_variable_is_any(void **s) {
  (void)s;
  Checked c = check("def @f(%x: Tensor[(?), float32]) -> Tensor[(?), float32] { %x }\n"
                    "def @main(%x: Tensor[(?), float32]) { let %a = @f(%x); let %b = (%a, "
                            "@f(%a)); add(%b.0, %a) }");
  assert_true(c.ok);
  Block *b = module_find(c.m, "main")->fn->body;
  for (int i = 0; i < b->n; i++) {
    Type *t = b->at[i].var->type;
    if (t->kind == TY_Tuple) t = t->tuple.at[1];
    assert_int_equal(t->tensor.dim[0]->kind, DIM_Sym);
  }
  assert_int_equal(b->at[b->n - 1].value->n_oblige, 0);      /* %b.0 is %a */
}

static void growing_loops_reach_an_unknown_extent(void **s) {
  (void)s;
  returns("def @main(%n: int32) { let %x: Tensor[(1), int32] = @one(); @loop(%n, %x) }\n"
          "def @one() -> Tensor[(1), int32] { @one() }\n"
          "def @loop(%i: int32, %st: Tensor[(?), int32]) {\n"
          "  if (equal(%i, 0)) { %st } else { @loop(subtract(%i, 1), concatenate((%st, "
                  "@one()))) } }",
          "Tensor[(?), int32]");
}

static void a_loop_without_annotation_joins_its_arguments(void **s) {
  (void)s;
  const char *one = "def @one() -> Tensor[(1), int32] { @one() }\n";
  returns(str_fmt("%s%s", one, "def @main(%n: int32) {\n"
          "  let %loop = fn (%i, %st) { if (equal(%i, 0)) { %st } else { %loop(subtract(%i, 1), "
                  "concatenate((%st, @one()))) } };\n"
          "  %loop(%n, @one()) }"), "Tensor[(?), int32]");
  returns(str_fmt("%s%s", one, "def @main(%n: int32) {\n"
          "  let %loop = fn (%i, %st) { if (equal(%i, 0)) { %st } else { %loop(subtract(%i, 1), "
                  "add(%st, @one())) } };\n"
          "  %loop(%n, @one()) }"), "Tensor[(1), int32]");
}

static void what_cannot_be_proved_becomes_an_obligation(void **s) {
  (void)s;
  obliges("def @main(%x: Tensor[(?, 3), float32], %y: Tensor[(3, 3), float32]) { add(%x, %y) }",
          EX_Call,
          OBLIGE_Bcast, "add: the extents of axis 0");
  obliges("def @main(%x: Tensor[(4, ?), float32], %w: Tensor[(4, 3), float32]) { nn.dense(%x, "
          "%w) }", EX_Call,
          OBLIGE_Equal, "nn.dense: the columns of x and of w");
  obliges("def @main(%y: Tensor[(?), float32]) { let %k: Tensor[(5), float32] = %y; %k }", EX_Just,
          OBLIGE_Equal, "axis 0 of %k and of its annotation");
  obliges("def @main(%x: Tensor[(n), float32], %y: Tensor[(m), float32]) -> Tensor[(n), "
          "float32] { %y }", EX_Just,
          OBLIGE_Equal, "axis 0 (n) of the result");
  obliges("def @main(%y: Tensor[(?, ?), float32]) { match_cast(%y, Tensor[(k, 4), float32]) }",
          EX_MatchCast,
          OBLIGE_Equal, "axis 1 of the value and of the cast");
}

static void an_annotation_of_a_call_gets_a_binding_of_its_own(void **s) {
  (void)s;
  Checked c = check("def @f() -> Tensor[(?), float32] { @f() }\n"
                    "def @main() { let %x: Tensor[(5), float32] = @f(); tanh(%x) }");
  assert_true(c.ok);
  Block *b = module_find(c.m, "main")->fn->body;
  assert_int_equal(b->n, 3);
  assert_int_equal(b->at[0].value->kind, EX_Call);
  assert_int_equal(b->at[1].value->kind, EX_Just);
  assert_int_equal(b->at[1].value->n_oblige, 1);
  assert_ptr_equal(b->at[1].value->oblige[0].a, b->at[0].var->type->tensor.dim[0]);
}

static void match_cast_binds_names(void **s) {
  (void)s;
  returns("def @main(%x: Tensor[(?, 4), float32], %y: Tensor[(?, 4), float32]) {\n"
          "  let %a = match_cast(%x, Tensor[(k, 4), float32]); let %b = match_cast(%y, "
                  "Tensor[(k, 4), float32]);\n"
          "  (nn.dense(%a, %b), concatenate((%a, %b))); add(%a, %b) }", "Tensor[(?, 4), float32]");
  refuses("def @main(%x: Tensor[(3, 4), float32]) { match_cast(%x, Tensor[(k, 5), float32]) }",
          E0301, "expected");
  refuses("def @main(%x: List[int32]) { match_cast(%x, List[int32]) }", E0311, "only tensors");
}

static void nothing_can_look_inside_data(void **s) {
  (void)s;
  refuses("def @main(%xs: List[Tensor[(?), float32]]) -> List[Tensor[(3), float32]] { %xs }", E0301,
          "expected List[Tensor[(3), float32]], found List[Tensor[(?), float32]]");
  refuses("def @main(%xs: List[Tensor[(n), float32]]) { %xs }",
          E0314, "n is not bound by a parameter of @main");
}

static void refs_hold_one_type(void **s) {
  (void)s;
  returns("def @main(%x: Tensor[(3), float32], %y: Tensor[(4), float32]) {\n"
          "  let %r = ref(%x); ref_write(%r, %y); ref_read(%r) }", "Tensor[(?), float32]");
  refuses("def @f(%r: ref(Tensor[(3), float32])) { ref_read(%r) }\n"
          "def @main(%x: Tensor[(3), float32], %y: Tensor[(4), float32]) { let %r = ref(%x); "
                  "ref_write(%r, %y); @f(%r) }",
          E0301, "expected ref(Tensor[(3), float32])");
}

static void unknown_results_get_a_symbol(void **s) {
  (void)s;
  returns("def @main(%x: Tensor[(3, 4), float32]) { argwhere(%x) }", "Tensor[(?, 2), int64]");
  returns("def @main(%x: Tensor[(7, 4), float32]) { halves(%x).1 }", "Tensor[(3, 4), float32]");
}

static void broadcasting_that_cannot_work_names_the_axis(void **s) {
  (void)s;
  refuses("def @main(%x: Tensor[(2, 4), float32], %y: Tensor[(2, 3), float32]) { add(%x, %y) }",
          E0310,
          "add: the extents of axis 1 differ: 4 and 3");
  refuses("def @main(%x: Tensor[(2, 3), float32], %y: Tensor[(2, 4), float32]) { "
          "concatenate((%x, %y)) }", E0310,
          "axis 1 differ: 3 and 4");                /* C17 */
  refuses("def @main(%x: Tensor[(2), float32]) { concatenate((%x, %x), axis=1) }", E0311,
          "axis=1 is out of range for rank 1");
}

static void checking_twice_changes_nothing(void **s) {
  (void)s;
  Checked c = check("def @f() -> Tensor[(?), float32] { @f() }\n"
                    "def @main(%y: Tensor[(n), float32]) -> Tensor[(n), float32] { let %x: "
                            "Tensor[(5), float32] = @f(); %x }\n"
                    "def @g(%x: Tensor[(?), float32]) { tanh(%x) }\n"
                    "def @h(%f) { let %c = fn (%x, %y) { Cons(%x, %y) }; (%f, %c(1, Nil)) }");
  assert_true(c.ok);
  StrBuf once = {0}, twice = {0};
  ir_print_module(c.m, &(PrintOpts){ .types = true }, &once);
  assert_true(typeinfer(c.m, c.d));
  ir_print_module(c.m, &(PrintOpts){ .types = true }, &twice);
  assert_string_equal(buf_text(&once), buf_text(&twice));
}

static void instances_are_recorded_at_calls(void **s) {
  (void)s;
  Checked c = check("def @f[A](%a: A, %x: Tensor[(n), float32]) -> A { %a }\n"
                    "def @main(%x: Tensor[(7), float32]) { @f(True, %x) }");
  assert_true(c.ok);
  const TypeArgs *in = first_expr(&c, "main", EX_Call)->Call.inst;
  assert_int_equal(in->n_types, 1);
  assert_true(type_is_scalar_of(in->type[0], DT_bool));
  assert_int_equal(in->n_dims, 1);
  assert_int_equal(in->dim[0]->value, 7);
}

/* ---- match ---- */

#define MATCH(clauses)                                                                           \
  "def @main(%x: List[List[int32]], %o: (Option[int32], bool)) { match (%x) {" clauses "} }"

static void a_missing_case_is_shown(void **s) {
  (void)s;
  refuses(MATCH("Nil => { 1 }, Cons(_, Nil) => { 2 }"), E0306, "Cons(_, Cons(_, _)) is missing");
  refuses(MATCH("Cons(Nil, Nil) => { 1 }, Nil => { 2 }"), E0306, "Cons(Cons(_, _), _) is missing");
  refuses("def @main(%o: (Option[int32], Option[int32])) { match (%o) { (None, _) => { 1 }, (_, "
          "None) => { 2 } } }",
          E0306, "(Some(_), Some(_)) is missing");
}

static void complete_matches_pass(void **s) {
  (void)s;
  returns(MATCH("Cons(Nil, Nil) => { 1 }, _ => { 2 }"), "int32");                     /* C13 */
  returns(MATCH("Nil => { 1 }, Cons(Nil, _) => { 2 }, Cons(Cons(_, _), %r) => { 3 }"), "int32");
  returns("def @main(%x: List[int32]) { match? (%x) { Nil => { 1 } } }", "int32");
}

static void an_unreachable_clause_is_a_warning(void **s) {
  (void)s;
  Checked c = check(MATCH("Nil => { 1 }, Cons(_, _) => { 2 }, _ => { 3 }"));
  assert_true(c.ok);
  assert_int_equal(c.d->n, 1);
  assert_int_equal(c.d->at[0].code, E0307);
  assert_int_equal(c.d->at[0].level, DIAG_WARNING);
}

static void patterns_are_typed(void **s) {
  (void)s;
  refuses(MATCH("Some(_) => { 1 }, _ => { 2 }"), E0301, "found a pattern of Option");
  refuses("def @main(%x: (int32, int32)) { match (%x) { (%a, %b, %c) => { %a } } }",
          E0301, "a tuple of 3");
}

/* ---- size ---- */

static const char *chain(const char *first, const char *link, int n) {
  StrBuf b = {0};
  buf_str(&b, first);
  for (int i = 1; i < n; i++) buf_fmt(&b, link, i, i - 1, i - 1);
  buf_fmt(&b, "  %%x%d\n}\n", n - 1);
  return buf_text(&b);
}

static void long_chains_are_checked_in_linear_time(void **s) {
  (void)s;
  clock_t t = clock();
  returns(chain("def @main(%x: Tensor[(n), float32]) {\n  let %x0 = %x;\n",
          "  let %%x%d = add(%%x%d, 1f);\n", 100000),
          "Tensor[(n), float32]");
  returns(chain("def @main(%x: float32) {\n  let %x0 = add(%x, %x);\n",
          "  let %%x%d = add(%%x%d, %%x%d);\n", 100),
          "float32");
  assert_true((double)(clock() - t) / CLOCKS_PER_SEC < 20.0);
}

static void types_that_explode_are_refused(void **s) {
  (void)s;
  refuses(chain("def @main(%x: float32) {\n  let %x0 = (%x, %x);\n",
          "  let %%x%d = (%%x%d, %%x%d);\n", 60), E0311, "parts");
  refuses(chain("def @main(%x: float32) {\n  let %x0 = (%x, %x);\n", "  let %%x%d = (%%x%d,);\n",
          2000), E0106, "nests deeper");
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(constants_have_the_type_they_are_written_with),
    cmocka_unit_test(results_are_inferred_from_operators),
    cmocka_unit_test(identity_is_used_at_two_types),
    cmocka_unit_test(variables_of_the_environment_are_not_generalised),
    cmocka_unit_test(refs_are_not_generalised),
    cmocka_unit_test(generic_recursion_needs_no_annotation),
    cmocka_unit_test(polymorphic_recursion_works_with_an_annotation),
    cmocka_unit_test(mutual_recursion_is_inferred_together),
    cmocka_unit_test(operators_and_constructors_are_values),
    cmocka_unit_test(an_operator_waits_for_its_operand),
    cmocka_unit_test(a_function_that_contains_itself_is_an_infinite_type),
    cmocka_unit_test(an_unused_unknown_is_reported_once),
    cmocka_unit_test(mistakes_of_structure_are_named),
    cmocka_unit_test(one_mistake_is_one_message),
    cmocka_unit_test(several_mistakes_come_in_the_order_of_the_text),
    cmocka_unit_test(named_dims_flow_through_calls),
    cmocka_unit_test(arithmetic_on_dims_is_proved),
    cmocka_unit_test(the_same_extent_on_both_sides_stays_static),
    cmocka_unit_test(a_parameter_keeps_its_unknown_extents),
    cmocka_unit_test(an_unknown_axis_equals_itself),
    cmocka_unit_test(no_axis_of_a_variable_is_any),
    cmocka_unit_test(growing_loops_reach_an_unknown_extent),
    cmocka_unit_test(a_loop_without_annotation_joins_its_arguments),
    cmocka_unit_test(what_cannot_be_proved_becomes_an_obligation),
    cmocka_unit_test(an_annotation_of_a_call_gets_a_binding_of_its_own),
    cmocka_unit_test(match_cast_binds_names),
    cmocka_unit_test(nothing_can_look_inside_data),
    cmocka_unit_test(refs_hold_one_type),
    cmocka_unit_test(unknown_results_get_a_symbol),
    cmocka_unit_test(broadcasting_that_cannot_work_names_the_axis),
    cmocka_unit_test(checking_twice_changes_nothing),
    cmocka_unit_test(instances_are_recorded_at_calls),
    cmocka_unit_test(a_missing_case_is_shown),
    cmocka_unit_test(complete_matches_pass),
    cmocka_unit_test(an_unreachable_clause_is_a_warning),
    cmocka_unit_test(patterns_are_typed),
    cmocka_unit_test(long_chains_are_checked_in_linear_time),
    cmocka_unit_test(types_that_explode_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
