/* npz.c -- numpy's .npz: a zip archive whose entries are .npy files.
 *
 * libzip reads it (with its consistency checks); what it may inflate is bounded
 * before a byte is: entries, sizes, the ratio, and the sum of the compressed
 * sizes, which in an archive without overlaps is less than the archive.  Every
 * entry is read to its end, where the checksum is verified, before any tensor
 * is handed out.  Writing is done here: stored entries at a fixed time, so that
 * the bytes depend on the tensors only.                                      */
#include "cli/file/tensor_file.h"
#include <zip.h>
#include <zlib.h>
#include "base/checked.h"

#define INFLATED_MAX ((uint64_t)4 << 30)
enum { RATIO_MAX = 1100, LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22 };

/* ---- reading ----------------------------------------------------------------------- */
typedef struct {
  uint64_t packed, inflated;
} Totals;

/* The name of the tensor of an entry, or NULL with *why set. */
static const char *entry_name(const char *raw, const char **why) {
  size_t n = raw ? strlen(raw) : 0;
  *why = NULL;
  if (n <= 4 || strcmp(raw + n - 4, ".npy") != 0)
    *why = "is not a .npy file";
  else if (n > TENSOR_NAME_MAX)
    *why = "has too long a name";
  else if (raw[0] == '/' || strchr(raw, '\\') || strstr(raw, ".."))
    *why = "has a name that leads elsewhere";
  for (size_t i = 0; !*why && i < n; i++)
    if ((unsigned char)raw[i] < ' ' || raw[i] == 0x7f) *why = "has a control byte in its name";
  return *why ? NULL : str_fmt("%.*s", (int)n - 4, raw);
}

static const char *entry_bounds(const zip_stat_t *st, size_t archive, Totals *sum) {
  const zip_uint64_t need =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if ((st->valid & need) != need) return "has no sizes";
  if (st->encryption_method != ZIP_EM_NONE) return "is encrypted";
  if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
    return "is packed with a method other than deflate";
  if (st->comp_method == ZIP_CM_STORE && st->size != st->comp_size) return "has two sizes";
  if (st->comp_size > archive || st->size / RATIO_MAX > st->comp_size)
    return "is larger than its bytes can hold";
  size_t packed, inflated;
  if (!size_add(sum->packed, st->comp_size, &packed) ||
      !size_add(packed, LOCAL_BYTES + CENTRAL_BYTES, &packed) || packed > archive)
    return "overlaps another";
  if (!size_add(sum->inflated, st->size, &inflated) || inflated > INFLATED_MAX)
    return "brings the contents to more than 4 GiB";
  sum->packed = packed, sum->inflated = inflated;
  return NULL;
}

static bool read_exactly(zip_file_t *f, uint8_t *to, uint64_t n) {
  while (n > 0) {
    zip_int64_t k = zip_fread(f, to, n);
    if (k <= 0) return false;
    to += k, n -= (uint64_t)k;
  }
  char more;
  return zip_fread(f, &more, 1) == 0; /* the end: checks the CRC    */
}

static const char *read_bytes(zip_t *z, uint64_t i, uint64_t n, uint8_t **out) {
  zip_file_t *f = zip_fopen_index(z, i, 0);
  if (!f) return "cannot be opened";
  *out = NEW_BYTES(n ? n : 1);
  bool ok = read_exactly(f, *out, n);
  return zip_fclose(f) == 0 && ok ? NULL : "is damaged (its checksum or size is wrong)";
}

static const char *read_entry(zip_t *z, uint64_t i, size_t archive, Totals *sum, TensorSet *set,
                              Map *seen) {
  const char *raw = zip_get_name(z, i, ZIP_FL_ENC_RAW), *why;
  const char *name = entry_name(raw, &why);
  zip_stat_t st;
  uint8_t *bytes = NULL;
  Tensor *t = NULL;
  if (!why && zip_stat_index(z, i, 0, &st) != 0) why = "cannot be examined";
  if (!why) why = entry_bounds(&st, archive, sum);
  if (!why) {
    uint64_t h = hash_bytes(name, strlen(name), 0);
    for (const char *other; !why && (other = map_get(seen, h)) != NULL; h = hash_mix(h, 1))
      if (!strcmp(other, name)) why = "stands twice in the archive";
    map_set(seen, h, (void *)(uintptr_t)name);
  }
  if (!why) why = read_bytes(z, i, st.size, &bytes);
  if (why) return str_fmt("entry `%s` %s", shown(raw ? raw : ""), why);
  why = npy_parse(bytes, st.size, &t);
  if (why) return str_fmt("entry `%s`: %s", shown(raw), why);
  vec_push(set, ((NamedTensor){name, t}));
  return NULL;
}

static const char *read_archive(zip_t *z, size_t archive, TensorSet *out) {
  zip_int64_t n = zip_get_num_entries(z, 0);
  if (n < 0 || n > NPZ_MAX_ENTRIES)
    return str_fmt("the archive has more than %d entries", NPZ_MAX_ENTRIES);
  TensorSet set = {0};
  Map seen = {0};
  Totals sum = {END_BYTES, 0};
  for (zip_int64_t i = 0; i < n; i++) {
    const char *why = read_entry(z, (uint64_t)i, archive, &sum, &set, &seen);
    if (why) return why;
  }
  for (int i = 0; i < set.n; i++) vec_push(out, set.at[i]);
  return NULL;
}

const char *npz_parse(const uint8_t *bytes, size_t n, TensorSet *out) {
  zip_error_t err;
  if (n < END_BYTES || (memcmp(bytes, "PK\3\4", 4) != 0 && memcmp(bytes, "PK\5\6", 4) != 0))
    return "not a zip archive (byte 0)";
  const uint8_t *volatile held = bytes; /* libzip's memory is not scanned */
  zip_error_init(&err);
  zip_source_t *src = zip_source_buffer_create(bytes, n, 0, &err);
  zip_t *z = src ? zip_open_from_source(src, ZIP_RDONLY | ZIP_CHECKCONS, &err) : NULL;
  if (!z) {
    const char *why = str_fmt("not a sound zip archive: %s", zip_error_strerror(&err));
    if (src) zip_source_free(src);
    zip_error_fini(&err);
    return why;
  }
  const char *why = read_archive(z, n, out);
  zip_discard(z);
  zip_error_fini(&err);
  (void)held;
  return why;
}

/* ---- writing ------------------------------------------------------------------------- */
enum { DOS_DATE = 0x21, UTF8_NAME = 0x800 }; /* 1980-01-01, 00:00           */
typedef struct {
  StrBuf name;
  uint32_t crc;
  size_t size, at;
} Written;

/* What the local and the central header of an entry share. */
static void put_common(const Written *w, StrBuf *out) {
  put_le(out, 20, 2); /* version needed              */
  put_le(out, UTF8_NAME, 2);
  put_le(out, 0, 2); /* stored                      */
  put_le(out, 0, 2);
  put_le(out, DOS_DATE, 2);
  put_le(out, w->crc, 4);
  put_le(out, w->size, 4);
  put_le(out, w->size, 4);
  put_le(out, w->name.n, 2);
  put_le(out, 0, 2); /* no extra field              */
}
static void put_local(const Written *w, StrBuf *out) {
  put_le(out, 0x04034b50, 4);
  put_common(w, out);
  buf_put(out, w->name.s, w->name.n);
}
static void put_central(const Written *w, StrBuf *out) {
  put_le(out, 0x02014b50, 4);
  put_le(out, 20, 2);
  put_common(w, out);
  put_le(out, 0, 8); /* comment, disk, attributes   */
  put_le(out, 0, 2);
  put_le(out, w->at, 4);
  buf_put(out, w->name.s, w->name.n);
}

static uint32_t checksum(const char *p, size_t n) {
  uLong c = crc32(0, NULL, 0);
  for (size_t part; n > 0; p += part, n -= part) {
    part = n < ((size_t)1 << 30) ? n : (size_t)1 << 30;
    c = crc32(c, (const Bytef *)p, (uInt)part);
  }
  return (uint32_t)c;
}

const char *npz_format(const TensorSet *ts, StrBuf *out) {
  Written *w = NEW_N(Written, ts->n + 1);
  size_t start = out->n;
  if (ts->n > NPZ_MAX_ENTRIES)
    return str_fmt("a .npz holds at most %d tensors, not %d", NPZ_MAX_ENTRIES, ts->n);
  for (int i = 0; i < ts->n; i++) {
    StrBuf npy = {0};
    const char *why = npy_format(ts->at[i].value, &npy);
    if (why) return why;
    buf_fmt(&w[i].name, "%s.npy", ts->at[i].name);
    w[i].crc = checksum(npy.s, npy.n), w[i].size = npy.n, w[i].at = out->n - start;
    if (w[i].name.n > TENSOR_NAME_MAX) return "a tensor's name is too long";
    if (w[i].at + npy.n > INT32_MAX) return "a .npz holds less than 2 GiB: write .safetensors";
    put_local(&w[i], out);
    buf_put(out, npy.s, npy.n);
  }
  size_t at = out->n - start;
  for (int i = 0; i < ts->n; i++) put_central(&w[i], out);
  size_t size = out->n - start - at;
  put_le(out, 0x06054b50, 4);
  put_le(out, 0, 4);
  put_le(out, (uint64_t)ts->n, 2);
  put_le(out, (uint64_t)ts->n, 2);
  put_le(out, size, 4);
  put_le(out, at, 4);
  put_le(out, 0, 2);
  return NULL;
}
