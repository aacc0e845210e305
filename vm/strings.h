/* strings.h -- making messages without stdio.
 *
 *   Msg m = msg(err->message, sizeof err->message);
 *   msg_text(&m, "axis "); msg_int(&m, axis); msg_text(&m, " is out of range");
 *
 * Always terminated; what does not fit is cut at a UTF-8 boundary.           */
#ifndef RVM_VM_STRINGS_H
#define RVM_VM_STRINGS_H
#include <stddef.h>
#include <stdint.h>

typedef struct { char *p; size_t n, cap; } Msg;
Msg  msg(char *buffer, size_t cap);          /* cap >= 1                      */
void msg_text(Msg *m, const char *s);
void msg_int(Msg *m, int64_t v);
void msg_uint(Msg *m, uint64_t v);
void msg_dims(Msg *m, int rank, const int64_t *dim);  /* "(2, 3)", "?" for -1   */
#endif
