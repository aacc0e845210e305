/* sound.c -- recordings as examples; see sound.h.                         */
#define _GNU_SOURCE
#include "cli/train/sound.h"
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/file/wav.h"

/* ---- which files ------------------------------------------------------------------- */
static bool is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_matches(const char *pattern, TextList *out) {
  glob_t g = {0};
  if (glob(pattern, GLOB_BRACE | GLOB_TILDE, NULL, &g) == 0)
    for (size_t i = 0; i < g.gl_pathc; i++)
      if (!is_folder(g.gl_pathv[i])) vec_push(out, str_fmt("%s", g.gl_pathv[i]));
  globfree(&g);
}

/* All of them, each once, in the order of their names. */
static const char *find_files(const TextList *paths, TextList *out) {
  TextList all = {0};
  for (int i = 0; i < paths->n; i++) {
    const char *p = paths->at[i];
    int before = all.n;
    if (is_folder(p)) {
      add_matches(str_fmt("%s/*.wav", p), &all);
      add_matches(str_fmt("%s/*/*.wav", p), &all);
    } else
      add_matches(p, &all);
    if (all.n == before)
      return str_fmt("%s: %s", p, is_folder(p) ? "no .wav files in it" : "no such file");
  }
  qsort(all.at, (size_t)all.n, sizeof *all.at, by_text);
  for (int i = 0; i < all.n; i++)
    if (i == 0 || strcmp(all.at[i], all.at[i - 1]) != 0) vec_push(out, all.at[i]);
  return NULL;
}

/* ---- which label ---------------------------------------------------------------------- */
static const char *file_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}
/* The folder a file lies in. */
static const char *folder_part(const char *path) {
  const char *end = file_part(path);
  if (end == path) return ".";
  const char *s = end - 1;
  while (s > path && s[-1] != '/') s--;
  return str_fmt("%.*s", (int)(end - 1 - s), s);
}
static const char *name_part(const char *path) {
  const char *s = file_part(path), *end = strchr(s, '_');
  return end && end > s ? str_fmt("%.*s", (int)(end - s), s) : NULL;
}

typedef struct {
  const char *file, *label;
} Row;
typedef VEC(Row) Table;

static const char *read_table(const char *path, Table *out, bool *io) {
  char *text;
  size_t n;
  const char *why = file_read(path, (size_t)1 << 30, &text, &n);
  if (why) return *io = true, str_fmt("%s: %s", path, why);
  int line = 1;
  for (char *s = text; *s; line++) {
    size_t len = strcspn(s, "\r\n"), comma = strcspn(s, ",\r\n");
    if (len > 0) {
      size_t label = len - comma - 1;
      if (comma == len || comma == 0 || label == 0 || memchr(s + comma + 1, ',', label))
        return str_fmt("%s:%d: expected a line \"recording,label\"", path, line);
      vec_push(out,
               ((Row){str_fmt("%.*s", (int)comma, s), str_fmt("%.*s", (int)label, s + comma + 1)}));
    }
    s += len;
    if (*s == '\r') s++;
    if (*s == '\n') s++;
  }
  return NULL;
}

static int by_file(const void *a, const void *b) {
  return strcmp(((const Row *)a)->file, ((const Row *)b)->file);
}
/* By the name of the file, whatever folders stand before it on either side. */
static const char *look_up(const Table *t, const char *path) {
  Row key = {file_part(path), NULL};
  const Row *r = t->n ? bsearch(&key, t->at, (size_t)t->n, sizeof key, by_file) : NULL;
  return r ? r->label : NULL;
}

static bool several_folders(const TextList *files) {
  for (int i = 1; i < files->n; i++)
    if (strcmp(folder_part(files->at[i]), folder_part(files->at[0])) != 0) return true;
  return false;
}

static const char *find_labels(const TextList *files, const char *how, TextList *out, bool *io) {
  Table table = {0};
  bool folder = how ? !strcmp(how, "folder") : several_folders(files);
  bool name = how ? !strcmp(how, "name") : !folder;
  if (!folder && !name) {
    if (!has_suffix(how, ".csv")) return str_fmt("--labels %s: folder, name or a .csv file", how);
    const char *why = read_table(how, &table, io);
    if (why) return why;
    for (int i = 0; i < table.n; i++) table.at[i].file = file_part(table.at[i].file);
    if (table.n) qsort(table.at, (size_t)table.n, sizeof *table.at, by_file);
  }
  for (int i = 0; i < files->n; i++) {
    const char *f = files->at[i];
    const char *label = folder ? folder_part(f) : name ? name_part(f) : look_up(&table, f);
    if (!label && name)
      return str_fmt("%s: its name says no label: what stands before the first _ (see --labels)",
                     f);
    if (!label) return str_fmt("%s: %s has no line for it", f, how);
    vec_push(out, label);
  }
  return NULL;
}

/* ---- numbers of labels ------------------------------------------------------------------ */
static bool as_number(const char *s, long long *out) {
  char *end;
  *out = strtoll(s, &end, 10);
  return end != s && !*end;
}
static int by_number(const void *a, const void *b) {
  long long x = 0, y = 0;
  as_number(*(const char *const *)a, &x);
  as_number(*(const char *const *)b, &y);
  return x != y ? (x > y) - (x < y) : by_text(a, b); /* 7 and 07 are two labels */
}

static void number_classes(const TextList *labels, TextList *out) {
  TextList all = {0};
  bool numbers = true;
  long long v;
  for (int i = 0; i < labels->n; i++) {
    vec_push(&all, labels->at[i]);
    numbers = numbers && as_number(labels->at[i], &v);
  }
  qsort(all.at, (size_t)all.n, sizeof *all.at, numbers ? by_number : by_text);
  for (int i = 0; i < all.n; i++)
    if (i == 0 || strcmp(all.at[i], all.at[i - 1]) != 0) vec_push(out, all.at[i]);
}

static int class_of(const TextList *classes, const char *label) {
  for (int i = 0; i < classes->n; i++)
    if (!strcmp(classes->at[i], label)) return i;
  return -1;
}

/* ---- the set ------------------------------------------------------------------------------- */
static const char *read_samples(const TextList *files, Column *x, int *rate, bool *io) {
  for (int i = 0; i < files->n; i++) {
    Wav w;
    const char *why = wav_read(files->at[i], &w);
    if (why) return *io = access(files->at[i], R_OK) != 0, why;
    if (i == 0) *rate = w.rate;
    if (w.rate != *rate)
      return str_fmt("%s has %d samples a second, %s has %d", files->at[i], w.rate, files->at[0],
                     *rate);
    x->item[i] = *w.samples;
  }
  return NULL;
}

const char *sound_read(const TextList *paths, const char *how, const TextList *classes,
                       DataSet *out, bool *io) {
  TextList files = {0}, labels = {0};
  const char *why = find_files(paths, &files);
  if (why) return *io = true, why;
  if ((why = find_labels(&files, how, &labels, io)) != NULL) return why;
  Column x = {.name = "x", .item = NEW_N(Tensor, files.n)};
  Column y = {.name = "y", .item = NEW_N(Tensor, files.n)};
  if ((why = read_samples(&files, &x, &out->rate, io)) != NULL) return why;
  if (classes)
    out->classes = *classes;
  else
    number_classes(&labels, &out->classes);
  for (int i = 0; i < files.n; i++) {
    int c = class_of(&out->classes, labels.at[i]);
    if (c < 0)
      return str_fmt("%s: no recording to train with has the label %s", files.at[i],
                     shown(labels.at[i]));
    y.item[i] = *tensor_scalar_int(DT_i32, c);
  }
  out->n = files.n;
  why = column_measure(&x, out->n);
  if (!why) why = column_measure(&y, out->n);
  vec_push(&out->columns, x);
  vec_push(&out->columns, y);
  return why;
}
