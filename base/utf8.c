/* utf8.c -- characters of text from outside; see utf8.h. */
#include "base/utf8.h"
#include <string.h>

int utf8_char(const char *text, size_t n, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned char *s = (const unsigned char *)text;
  int len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
  if (len == 0 || (size_t)len > n) return 0;
  uint32_t c = len == 1 ? s[0] : s[0] & (0x7f >> len);
  for (int i = 1; i < len; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (s[i] & 0x3f);
  }
  if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  *code = c;
  return len;
}

bool utf8_is_unsafe(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

void buf_json(StrBuf *b, const char *s) {
  if (!s) {
    buf_str(b, "null");
    return;
  }
  size_t n = strlen(s);
  buf_char(b, '"');
  for (size_t i = 0; i < n;) {
    uint32_t c = 0;
    int len = utf8_char(s + i, n - i, &c);
    if (len == 0)
      buf_fmt(b, "\\\\x%02x", (unsigned char)s[i]), len = 1;
    else if (c == '"' || c == '\\')
      buf_fmt(b, "\\%c", (char)c);
    else if (utf8_is_unsafe(c))
      buf_fmt(b, "\\u%04x", (unsigned)c);
    else
      buf_put(b, s + i, (size_t)len);
    i += (size_t)len;
  }
  buf_char(b, '"');
}
