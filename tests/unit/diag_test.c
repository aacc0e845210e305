/* diag_test.c -- base/: places in sources, and messages about them. */
#include "tests/unit/test.h"
#include <stdlib.h>
#include <string.h>
#include "base/diag.h"
#include "base/mem.h"
#include "base/source.h"
#include "base/str.h"
#include "base/utf8.h"

static const char program[] = "def @main(%x: Tensor[(4, 8), float32],\n"
                              "         %w: Tensor[(16, 9), float32]) {\n"
                              "  nn.dense(%x, %w)\n"
                              "}\n";

static Diags *diags_for(const char *path, const char *text, uint32_t *file) {
  Sources *s = NEW(Sources);
  *file = source_add(s, path, text, strlen(text));
  return diags_new(s);
}

static Span span_of(uint32_t file, const char *text, const char *part) {
  return (Span){file, (uint32_t)(strstr(text, part) - text), (uint32_t)strlen(part)};
}

static const char *rendered(const Diags *d) {
  StrBuf b = {0};
  diag_render(d, &b, false);
  return buf_text(&b);
}

static void places_count_characters_from_one(void **state) {
  (void)state;
  Sources s = {0};
  const char *text = "a\xc3\xa4z\n\nlast";
  uint32_t f = source_add(&s, "x", text, strlen(text));
  static const int want[][3] = {{0, 1, 1}, {1, 1, 2}, {3, 1, 3},  {4, 1, 4},
                                {5, 2, 1}, {6, 3, 1}, {10, 3, 5}, {99, 3, 5}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    int line, col;
    source_place(&s, f, (uint32_t)want[i][0], &line, &col);
    assert_int_equal(line, want[i][1]);
    assert_int_equal(col, want[i][2]);
  }
  assert_int_equal(f, 1);
  assert_null(source_get(&s, 0));
  assert_null(source_get(&s, 2));
  Span a = {1, 2, 3}, b = {1, 8, 4}, nowhere = {0, 0, 0};
  assert_int_equal(span_to(a, b).len, 10);
  assert_int_equal(span_to(nowhere, b).at, 8);
  assert_int_equal(span_to(a, nowhere).len, 3);
}

static void a_message_shows_place_line_caret_note_and_help(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("model.rly", program, &f);
  assert_false(diag_error(d, span_of(f, program, "nn.dense"), E0310, "nn.dense",
                          "the columns of x and of w", "8", "9"));
  diag_note(d, span_of(f, program, "%w"), "%%w is declared here");
  diag_help(d, "w needs shape (n, %d)", 8);
  assert_string_equal(
      rendered(d),
      "model.rly:3:3: error[E0310]: nn.dense: the columns of x and of w differ: 8 and 9\n"
      "   3 |   nn.dense(%x, %w)\n"
      "     |   ^^^^^^^^\n"
      "model.rly:2:10: note: %w is declared here\n"
      "help: w needs shape (n, 8)\n");
}

static void a_json_string_escapes_what_json_or_a_terminal_could_trip_over(void **state) {
  StrBuf b = {0};
  (void)state;
  buf_json(&b, "a\"b\\c\n\x7f \xc3\xa9 \xe2\x80\xae \xd8\x9c \xff");
  assert_string_equal(buf_text(&b),
                      "\"a\\\"b\\\\c\\u000a\\u007f \xc3\xa9 \\u202e \\u061c \\\\xff\"");
  b.n = 0;
  buf_json(&b, NULL);
  assert_string_equal(buf_text(&b), "null");
}

static void json_holds_the_same_on_one_line(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("a\"b.rly", program, &f);
  diag_error(d, span_of(f, program, "nn.dense"), E0310, "nn.dense", "x\n\xff", "8", "9");
  diag_note(d, span_of(f, program, "%w"), "here");
  diag_warning(d, (Span){0, 0, 0}, E0307);
  StrBuf b = {0};
  diag_render_json(d, &b);
  assert_string_equal(
      buf_text(&b),
      "{\"file\":\"a\\\"b.rly\",\"line\":3,\"col\":3,\"end_col\":11,\"level\":\"error\",\"code\":"
      "\"E0310\","
      "\"message\":\"nn.dense: x\\u000a\\\\xff differ: 8 and 9\",\"notes\":["
      "{\"file\":\"a\\\"b.rly\",\"line\":2,\"col\":10,\"end_col\":12,\"message\":\"here\"}],"
      "\"help\":null}\n"
      "{\"file\":null,\"line\":0,\"col\":0,\"end_col\":0,\"level\":\"warning\",\"code\":\"E0307\","
      "\"message\":\"this clause can never match\",\"notes\":[],\"help\":null}\n");
}

static void the_caret_stands_right_under_tabs_and_wide_characters(void **state) {
  (void)state;
  uint32_t f;
  const char *text = "a\tb \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1";
  Diags *d = diags_for("t", text, &f);
  diag_error(d, span_of(f, text, "x1"), E0201, "x1");
  assert_string_equal(rendered(d), "t:1:12: error[E0201]: x1 is not defined\n"
                                   "   1 | a   b \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1\n"
                                   "     |              ^^\n");
  d->n = d->n_errors = 0;
  diag_error(d, span_of(f, text, "\xe4\xbd\xa0"), E0201, "it");
  assert_string_equal(rendered(d), "t:1:5: error[E0201]: it is not defined\n"
                                   "   1 | a   b \xe4\xbd\xa0 \xc3\xa4 e\xcc\x81 x1\n"
                                   "     |       ^^\n");
}

static void control_bytes_never_reach_the_terminal(void **state) {
  (void)state;
  uint32_t f;
  const char *text = "\x1b[2J \xff\r\n";
  Diags *d = diags_for("t\x1b", text, &f);
  diag_error(d, (Span){f, 5, 1}, E0101, "\x1b\n\x7f");
  diag_note(d, (Span){0, 0, 0}, "\xe2\x80\xae");
  assert_string_equal(rendered(d),
                      "t\\x1b:1:6: error[E0101]: unexpected character \\x1b\\x0a\\x7f\n"
                      "   1 | \\x1b[2J \\xff\n"
                      "     |         ^^^^\n"
                      "note: \\xe2\\x80\\xae\n");
}

static void spans_at_the_edges_get_one_caret(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab", &f);
  diag_error(d, (Span){f, 2, 0}, E0103, "x", "the end");
  diag_error(d, (Span){f, 0, 0}, E0103, "x", "y");
  diag_error(d, (Span){f, 900, 900}, E0103, "x", "y");
  diag_error(d, (Span){7, 1, 1}, E0103, "x", "y");
  assert_string_equal(rendered(d),
                      "t:1:3: error[E0103]: expected x, found the end\n   1 | ab\n     |   ^\n"
                      "t:1:1: error[E0103]: expected x, found y\n   1 | ab\n     | ^\n"
                      "t:1:3: error[E0103]: expected x, found y\n   1 | ab\n     |   ^\n"
                      "error[E0103]: expected x, found y\n");
}

static void a_span_of_many_lines_is_underlined_on_its_first(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab {\n cd\n}", &f);
  diag_error(d, (Span){f, 3, 7}, E0102, "{");
  assert_string_equal(rendered(d),
                      "t:1:4: error[E0102]: { is not closed\n   1 | ab {\n     |    ^\n");
}

static void a_very_long_line_is_shown_around_the_span(void **state) {
  (void)state;
  uint32_t f;
  char *text = NEW_BYTES(100001);
  memset(text, 'w', 100000);
  memcpy(text + 50000, "HERE", 4);
  Diags *d = diags_for("t", text, &f);
  diag_error(d, (Span){f, 50000, 4}, E0201, text);
  const char *s = rendered(d);
  assert_true(strlen(s) < 4000);
  const char *line = strstr(s, "   1 | "), *mark = strstr(s, "     | ");
  assert_int_equal(strstr(line, "HERE") - line, strstr(mark, "^^^^") - mark);
}

static void after_the_limit_errors_are_counted_but_not_kept(void **state) {
  (void)state;
  uint32_t f;
  Diags *d = diags_for("t", "ab", &f);
  for (int i = 0; i < 25; i++) {
    diag_error(d, (Span){f, 0, 1}, E0201, "a");
    diag_note(d, (Span){f, 0, 1}, "note %d", i);
  }
  assert_int_equal(d->n, 20);
  assert_int_equal(d->n_errors, 25);
  assert_null(d->at[19].notes->next);
  assert_non_null(strstr(rendered(d), "\n5 more errors not shown\n"));
}

static void every_message_has_its_number(void **state) {
  (void)state;
  assert_string_equal(diag_code_name(E0310), "E0310");
  for (int c = 0; c < DIAG_CODES; c++) {
    assert_int_equal(strlen(diag_code_name((DiagCode)c)), 5);
    assert_true(strlen(diag_code_template((DiagCode)c)) > 0);
    if (c > 0)
      assert_true(strcmp(diag_code_name((DiagCode)(c - 1)), diag_code_name((DiagCode)c)) < 0);
  }
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(places_count_characters_from_one),
      cmocka_unit_test(a_message_shows_place_line_caret_note_and_help),
      cmocka_unit_test(a_json_string_escapes_what_json_or_a_terminal_could_trip_over),
      cmocka_unit_test(json_holds_the_same_on_one_line),
      cmocka_unit_test(the_caret_stands_right_under_tabs_and_wide_characters),
      cmocka_unit_test(control_bytes_never_reach_the_terminal),
      cmocka_unit_test(spans_at_the_edges_get_one_caret),
      cmocka_unit_test(a_span_of_many_lines_is_underlined_on_its_first),
      cmocka_unit_test(a_very_long_line_is_shown_around_the_span),
      cmocka_unit_test(after_the_limit_errors_are_counted_but_not_kept),
      cmocka_unit_test(every_message_has_its_number),
  };
  int failed = cmocka_run_group_tests_name("diag", tests, NULL, NULL);
  mem_release_all();
  return failed;
}
