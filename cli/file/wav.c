/* wav.c -- recordings: RIFF/WAVE files; see wav.h.
 *
 * A file is a chunk RIFF that holds chunks: `fmt ` says how a sample is stored,
 * `data` has the samples, all others are passed over.  A recorder that was cut
 * off leaves a `data` longer than the file: that is refused, not guessed at. */
#include "cli/file/wav.h"
#include "base/file.h"
#include "cli/file/tensor_file.h"

enum { PCM = 1, IEEE_FLOAT = 3, EXTENSIBLE = 0xfffe };
#define WAV_MAX ((size_t)2 << 30)

typedef struct {
  int kind, channels, rate, bits, frame;
} Format;

static double sample(const uint8_t *p, const Format *f) {
  uint64_t v = get_le(p, f->bits / 8);
  if (f->kind == IEEE_FLOAT && f->bits == 32) {
    float x;
    memcpy(&x, &(uint32_t){(uint32_t)v}, 4);
    return x;
  }
  if (f->kind == IEEE_FLOAT) {
    double x;
    memcpy(&x, &v, 8);
    return x;
  }
  if (f->bits == 8) return ((double)v - 128) / 128;
  int64_t top = (int64_t)1 << (f->bits - 1);
  return (double)(((int64_t)v ^ top) - top) / (double)top; /* sign extended */
}

/* At p, n bytes of the chunk `fmt `. */
static const char *read_format(const uint8_t *p, size_t n, Format *f) {
  if (n < 16) return "the chunk `fmt ` is too short";
  *f = (Format){.kind = (int)get_le(p, 2),
                .channels = (int)get_le(p + 2, 2),
                .frame = (int)get_le(p + 12, 2),
                .bits = (int)get_le(p + 14, 2)};
  uint64_t rate = get_le(p + 4, 4);
  if (f->kind == EXTENSIBLE) {
    if (n < 40) return "the chunk `fmt ` is too short for its format";
    f->kind = (int)get_le(p + 24, 2);
  }
  if (f->kind != PCM && f->kind != IEEE_FLOAT)
    return str_fmt("samples of format 0x%x are not read: PCM and float are", f->kind);
  bool known = f->kind == PCM ? f->bits > 0 && f->bits <= 32 && f->bits % 8 == 0
                              : f->bits == 32 || f->bits == 64;
  if (!known)
    return str_fmt("%s of %d bits is not read", f->kind == PCM ? "PCM" : "float", f->bits);
  if (f->channels < 1 || f->channels > WAV_MAX_CHANNELS)
    return str_fmt("it has %d channels", f->channels);
  if (rate < 1 || rate > WAV_MAX_RATE)
    return str_fmt("it has %llu samples a second", (unsigned long long)rate);
  f->rate = (int)rate;
  if (f->frame != f->channels * f->bits / 8)
    return str_fmt("%d channels of %d bits do not make %d bytes", f->channels, f->bits, f->frame);
  return NULL;
}

static const char *read_data(const uint8_t *p, size_t n, const Format *f, Wav *out) {
  size_t frame = (size_t)f->frame, each = (size_t)f->bits / 8;
  if (n % frame) return str_fmt("the last sample is cut off: %zu bytes of %d each", n, f->frame);
  out->rate = f->rate, out->channels = f->channels;
  out->samples = tensor_new(DT_f32, 1, &(int64_t){(int64_t)(n / frame)});
  float *x = out->samples->bytes;
  for (size_t i = 0; i < n / frame; i++) {
    double sum = 0;
    for (int c = 0; c < f->channels; c++) sum += sample(p + i * frame + (size_t)c * each, f);
    x[i] = (float)(sum / f->channels);
  }
  return NULL;
}

const char *wav_parse(const uint8_t *bytes, size_t n, Wav *out) {
  Format f = {0};
  if (n < 12 || memcmp(bytes, "RIFF", 4) != 0 || memcmp(bytes + 8, "WAVE", 4) != 0)
    return "not a RIFF/WAVE file (byte 0)";
  for (size_t at = 12; at + 8 <= n;) {
    uint64_t size = get_le(bytes + at + 4, 4);
    const uint8_t *body = bytes + at + 8;
    if (size > n - at - 8)
      return str_fmt("the chunk at byte %zu has %llu bytes of which %zu are there", at,
                     (unsigned long long)size, n - at - 8);
    if (!memcmp(bytes + at, "fmt ", 4)) {
      const char *why = read_format(body, (size_t)size, &f);
      if (why) return why;
    } else if (!memcmp(bytes + at, "data", 4)) {
      if (!f.kind) return "the chunk `data` comes before `fmt `";
      return read_data(body, (size_t)size, &f, out);
    }
    at += 8 + (size_t)size + (size & 1);
  }
  return f.kind ? "it has no chunk `data`" : "it has no chunk `fmt `";
}

const char *wav_read(const char *path, Wav *out) {
  char *bytes;
  size_t n;
  const char *why = file_read(path, WAV_MAX, &bytes, &n);
  if (!why) why = wav_parse((const uint8_t *)bytes, n, out);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}
