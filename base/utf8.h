/* utf8.h -- text that came from outside: reading its characters, quoting it.  */
#ifndef RVM_BASE_UTF8_H
#define RVM_BASE_UTF8_H
#include <stdbool.h>
#include "base/str.h"

/* The length of the well-formed UTF-8 character at text[0..n), n > 0, its code
 * in *code; 0 when the bytes there are not one (overlong forms, surrogates and
 * codes above 10ffff are not). */
int  utf8_char(const char *text, size_t n, uint32_t *code);
/* Control characters, and those that reorder or hide text in a terminal. */
bool utf8_is_unsafe(uint32_t code);
/* Appends s as a JSON string with its quotes (RFC 8259, section 7), or null when
 * s is NULL.  A byte that is not UTF-8 becomes the text \xff. */
void buf_json(StrBuf *b, const char *s);
#endif
