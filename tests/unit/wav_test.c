/* wav_test.c -- recordings, sound and damaged. */
#include "tests/unit/test.h"
#include <string.h>
#include "cli/file/tensor_file.h"
#include "cli/file/wav.h"

typedef struct {
  int kind, channels, rate, bits;
  bool extensible, extra;
} Spec;

static void put_wav(const Spec *s, const void *data, size_t n, StrBuf *out) {
  int fmt = s->extensible ? 40 : 16, frame = s->channels * s->bits / 8;
  buf_put(out, "RIFF", 4);
  put_le(out, 4 + 8 + (uint64_t)fmt + (s->extra ? 12 : 0) + 8 + n, 4);
  buf_put(out, "WAVEfmt ", 8);
  put_le(out, (uint64_t)fmt, 4);
  put_le(out, s->extensible ? 0xfffe : (uint64_t)s->kind, 2);
  put_le(out, (uint64_t)s->channels, 2);
  put_le(out, (uint64_t)s->rate, 4);
  put_le(out, (uint64_t)(s->rate * frame), 4);
  put_le(out, (uint64_t)frame, 2);
  put_le(out, (uint64_t)s->bits, 2);
  if (s->extensible) {
    put_le(out, 22, 2);
    put_le(out, (uint64_t)s->bits, 2);
    put_le(out, 3, 4);
    put_le(out, (uint64_t)s->kind, 2);
    for (int i = 0; i < 14; i++) put_le(out, 0, 1);
  }
  if (s->extra) buf_put(out, "LIST\3\0\0\0abc\0", 12); /* odd: padded      */
  buf_put(out, "data", 4);
  put_le(out, n, 4);
  buf_put(out, data, n);
}

static const char *parse(const StrBuf *b, size_t n, Wav *w) {
  return wav_parse((const uint8_t *)b->s, n, w);
}

static void reads(const Spec *s, const void *data, size_t n, int count, const float *want) {
  StrBuf b = {0};
  Wav w;
  put_wav(s, data, n, &b);
  const char *why = parse(&b, b.n, &w);
  assert_null(why);
  assert_int_equal(w.rate, s->rate);
  assert_int_equal(w.channels, s->channels);
  assert_int_equal(w.samples->count, count);
  for (int i = 0; i < count; i++) assert_true(((const float *)w.samples->bytes)[i] == want[i]);
}

static void every_width(void **state) {
  (void)state;
  const float want[] = {-1, 0, 0.5f};
  reads(&(Spec){1, 1, 8000, 8, false, false}, "\x00\x80\xc0", 3, 3, want);
  reads(&(Spec){1, 1, 16000, 16, false, true}, "\x00\x80\x00\x00\x00\x40", 6, 3, want);
  reads(&(Spec){1, 1, 8000, 24, true, false}, "\x00\x00\x80\x00\x00\x00\x00\x00\x40", 9, 3, want);
  reads(&(Spec){1, 1, 44100, 32, false, true}, "\0\0\0\x80\0\0\0\0\0\0\0\x40", 12, 3, want);
  reads(&(Spec){3, 1, 8000, 32, true, false}, want, sizeof want, 3, want);
  const double wide[] = {-1, 0, 0.5};
  reads(&(Spec){3, 1, 8000, 64, false, false}, wide, sizeof wide, 3, want);
}

static void channels_are_averaged(void **state) {
  (void)state;
  const float stereo[] = {1, 0, 0.5f, -0.5f}, want[] = {0.5f, 0};
  reads(&(Spec){3, 2, 8000, 32, false, false}, stereo, sizeof stereo, 2, want);
  reads(&(Spec){1, 1, 8000, 16, false, false}, "", 0, 0, NULL);
}

static void damaged_files_are_refused(void **state) {
  (void)state;
  StrBuf b = {0};
  Wav w;
  put_wav(&(Spec){1, 1, 8000, 16, false, true}, "\1\2\3\4", 4, &b);
  assert_null(parse(&b, b.n, &w));
  for (size_t n = 0; n < b.n; n++) assert_non_null(parse(&b, n, &w));
  static const struct {
    Spec spec;
    const char *says;
  } bad[] = {
      {{2, 1, 8000, 16, false, false}, "samples of format 0x2"},
      {{1, 0, 8000, 16, false, false}, "it has 0 channels"},
      {{1, 65, 8000, 16, false, false}, "it has 65 channels"},
      {{1, 1, 0, 16, false, false}, "it has 0 samples"},
      {{1, 1, 8000, 12, false, false}, "PCM of 12 bits"},
      {{3, 1, 8000, 16, false, false}, "float of 16 bits"},
      {{1, 3, 8000, 16, false, false}, "the last sample is cut off"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    StrBuf c = {0};
    put_wav(&bad[i].spec, "\1\2\3\4", 4, &c);
    const char *why = parse(&c, c.n, &w);
    assert_non_null(why);
    assert_memory_equal(why, bad[i].says, strlen(bad[i].says));
  }
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_width),
      cmocka_unit_test(channels_are_averaged),
      cmocka_unit_test(damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
