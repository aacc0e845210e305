/* strings.c -- appending to a buffer of fixed size; see strings.h. */
#include "vm/strings.h"
#include <string.h>

Msg msg(char *buffer, size_t cap) {
  buffer[0] = '\0';
  return (Msg){buffer, 0, cap};
}

void msg_text(Msg *m, const char *s) {
  size_t n = strlen(s), room = m->cap - 1 - m->n;
  if (n > room) {
    n = room;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) n--;
  }
  memcpy(m->p + m->n, s, n);
  m->n += n;
  m->p[m->n] = '\0';
}

void msg_uint(Msg *m, uint64_t v) {
  char text[24];
  size_t i = sizeof text - 1;
  text[i] = '\0';
  do text[--i] = (char)('0' + v % 10);
  while (v /= 10);
  msg_text(m, text + i);
}

void msg_int(Msg *m, int64_t v) {
  if (v < 0) msg_text(m, "-");
  msg_uint(m, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void msg_dims(Msg *m, int rank, const int64_t *dim) {
  msg_text(m, "(");
  for (int i = 0; i < rank; i++) {
    if (i) msg_text(m, ", ");
    if (dim[i] < 0)
      msg_text(m, "?");
    else
      msg_int(m, dim[i]);
  }
  msg_text(m, ")");
}
