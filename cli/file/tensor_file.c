/* tensor_file.c -- which format a path means, and what the formats share.    */
#include "cli/file/tensor_file.h"
#include "base/checked.h"
#include "base/file.h"
#include "cli/file/wav.h"

/* ---- names ------------------------------------------------------------------- */
const char *shown(const char *s) {
  StrBuf b = {0};
  size_t i = 0;
  for (; s[i] && i < 80; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c >= ' ' && c < 0x7f)
      buf_char(&b, (char)c);
    else
      buf_fmt(&b, "\\x%02x", c);
  }
  if (s[i]) buf_str(&b, "...");
  return buf_text(&b);
}

Tensor *tensor_find(const TensorSet *ts, const char *name) {
  for (int i = ts->n - 1; i >= 0; i--) /* what came last wins          */
    if (!strcmp(ts->at[i].name, name)) return ts->at[i].value;
  return NULL;
}

void put_le(StrBuf *b, uint64_t v, int bytes) {
  char c[8];
  for (int i = 0; i < bytes; i++) c[i] = (char)(v >> (8 * i) & 0xff);
  buf_put(b, c, (size_t)bytes);
}

/* ---- tensors ------------------------------------------------------------------ */
static const char *bad_bool(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i] > 1) return str_fmt("element %zu of a bool tensor is neither 0 nor 1", i);
  return NULL;
}

Tensor *tensor_over(DType t, int rank, const int64_t *dim, const uint8_t *data, size_t n,
                    const char **why) {
  int64_t count = 0;
  size_t each = (size_t)dtype_bytes(t), want;
  *why = NULL;
  if (rank > MAX_RANK)
    *why = str_fmt("it has %d dimensions; %d are the most", rank, MAX_RANK);
  else if (!dims_count(dim, rank, &count) || count > TENSOR_MAX_COUNT)
    *why = "it has too many elements";
  else if (!size_mul((size_t)count, each, &want))
    *why = "it has too many elements";
  else if (want != n)
    *why = str_fmt("its shape needs %zu bytes of data; there are %zu", want, n);
  else if (t == DT_bool)
    *why = bad_bool(data, n);
  if (*why) return NULL;
  Tensor *x = NEW(Tensor);
  x->dtype = t, x->rank = rank, x->count = count;
  for (int i = 0; i < rank; i++) x->dim[i] = dim[i];
  x->bytes = (void *)(uintptr_t)data;
  if (n == 0 || (uintptr_t)data % each != 0) {
    x->bytes = NEW_BYTES(n ? n : 1);
    if (n) memcpy(x->bytes, data, n);
  }
  return x;
}

/* ---- dispatch ------------------------------------------------------------------- */
static const char *read_npy(const uint8_t *bytes, size_t n, TensorSet *out) {
  Tensor *t;
  const char *why = npy_parse(bytes, n, &t);
  if (!why) vec_push(out, ((NamedTensor){"", t}));
  return why;
}
static const char *write_npy(const TensorSet *ts, StrBuf *out) {
  if (ts->n != 1) return str_fmt("a .npy file holds one tensor, not %d: write a .npz", ts->n);
  return npy_format(ts->at[0].value, out);
}

static const char *read_wav(const uint8_t *bytes, size_t n, TensorSet *out) {
  Wav w;
  const char *why = wav_parse(bytes, n, &w);
  if (!why) vec_push(out, ((NamedTensor){"", w.samples}));
  return why;
}
static const char *write_wav(const TensorSet *ts, StrBuf *out) {
  (void)ts, (void)out;
  return "recordings are read, not written";
}

static const struct {
  const char *ending;
  const char *(*read)(const uint8_t *bytes, size_t n, TensorSet *out);
  const char *(*write)(const TensorSet *ts, StrBuf *out);
} formats[] = {
    {".npy", read_npy, write_npy},
    {".npz", npz_parse, npz_format},
    {".safetensors", safetensors_parse, safetensors_format},
    {".wav", read_wav, write_wav},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static int format_of(const char *path) {
  size_t n = strlen(path);
  for (int i = 0; i < N_FORMATS; i++) {
    size_t k = strlen(formats[i].ending);
    if (n >= k && !strcmp(path + n - k, formats[i].ending)) return i;
  }
  return -1;
}
bool tensor_file_known(const char *path) { return format_of(path) >= 0; }

static const char *unknown_format(const char *path) {
  return str_fmt("%s: tensor files end in .npy, .npz or .safetensors", path);
}

const char *tensor_file_read(const char *path, TensorSet *out) {
  int f = format_of(path);
  char *bytes;
  size_t n;
  if (f < 0) return unknown_format(path);
  const char *why = file_read(path, TENSOR_FILE_MAX, &bytes, &n);
  if (!why) why = formats[f].read((const uint8_t *)bytes, n, out);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}

const char *tensor_file_write(const char *path, const TensorSet *ts) {
  int f = format_of(path);
  StrBuf b = {0};
  if (f < 0) return unknown_format(path);
  const char *why = formats[f].write(ts, &b);
  if (!why) why = file_write(path, buf_text(&b), b.n);
  return why ? str_fmt("%s: %s", path, why) : NULL;
}
