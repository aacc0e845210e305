/* meta.c -- the #[metadata] section: TVM's JSON graph of objects.
 *
 *   { "root": 1, "nodes": [ {"type_key": "", "attrs": {...}, "data": [...]} ],
 *     "b64ndarrays": ["P6G0..."] }
 *
 * The root is a Map from type keys to Arrays of nodes; meta[Key][i] is the i-th
 * of its array.  Node 0 is null.  In an attribute object a number may be the
 * value of a plain field or the number of the node that holds it; the JSON
 * does not tell.  So the plain fields of the objects that TVM prints this way
 * are listed, and for other objects a number is a node when it is behind the
 * object (TVM numbers children after their parent) and that node is a value. */
#include <jansson.h>
#include "base/checked.h"
#include "parser/parse.h"

/* Lists may share and nest: bounds against files made to explode. */
enum { LIST_DEPTH = 4, LIST_BUDGET = 1 << 20 };

struct MetaFile {
  json_t *root;
  json_t *nodes, *arrays;
  VEC(const Tensor *) tensors; /* decoded so far, by number              */
  int budget;                  /* list elements still to be made         */
};

/* ---- plain fields: name, and b for bool, f for float, i for int -------------- */

static const struct {
  const char *type, *fields;
} plain[] = {
    {"AvgPool1DAttrs", "ceil_mode:b count_include_pad:b"},
    {"AvgPool2DAttrs", "ceil_mode:b count_include_pad:b"},
    {"AvgPool3DAttrs", "ceil_mode:b count_include_pad:b"},
    {"MaxPool1DAttrs", "ceil_mode:b"},
    {"MaxPool2DAttrs", "ceil_mode:b"},
    {"MaxPool3DAttrs", "ceil_mode:b"},
    {"ScanopAttrs", ""},
    {"ScatterAttrs", ""},
    {"ScatterAddAttrs", ""},
    {"ScatterNDAttrs", ""},
    {"GatherAttrs", ""},
    {"TakeAttrs", ""},
    {"InitOpAttrs", ""},
    {"ShapeOfAttrs", ""},
    {"AllClassNonMaximumSuppressionAttrs", ""},
    {"GetValidCountsAttrs", "id_index:i score_index:i"},
    {"NonMaximumSuppressionAttrs",
     "force_suppress:b top_k:i coord_start:i score_index:i id_index:i "
     "return_indices:b invalid_to_bottom:b"},
    {"ROIAlignAttrs", "spatial_scale:f sample_ratio:i"},
    {"ROIPoolAttrs", "spatial_scale:f"},
    {"MultiBoxPriorAttrs", "clip:b"},
    {"MultiBoxTransformLocAttrs", "clip:b threshold:f keep_topk:i"},
    {"ProposalAttrs", "feature_stride:i threshold:f rpn_pre_nms_top_n:i rpn_post_nms_top_n:i "
                      "rpn_min_size:i iou_loss:b"},
};

/* 'b' 'f' 'i' for a plain field, 'n' for a node, '?' when the type is not listed. */
static char field_kind(const char *type, const char *field) {
  size_t len = strlen(field);
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    if (strcmp(type, plain[i].type) != 0) continue;
    for (const char *s = plain[i].fields; *s;) {
      if (strncmp(s, field, len) == 0 && s[len] == ':') return s[len + 1];
      s += strcspn(s, " ");
      s += *s == ' ';
    }
    return 'n';
  }
  return '?';
}

/* ---- nodes ---------------------------------------------------------------------- */

static const char *type_key(const json_t *node) {
  const char *s = json_string_value(json_object_get(node, "type_key"));
  return s ? s : "";
}

static json_t *node_at(const MetaFile *m, int64_t i) {
  return i < 0 ? NULL : json_array_get(m->nodes, (size_t)i);
}

/* A whole decimal number that fits an int64. */
static bool whole_number(const char *s, int64_t *out) {
  bool negative = *s == '-';
  const char *d = s + negative;
  uint64_t v = 0;
  if (!*d || strlen(d) > 18) return false;
  for (; *d; d++) {
    if (*d < '0' || *d > '9') return false;
    v = v * 10 + (uint64_t)(*d - '0');
  }
  *out = negative ? -(int64_t)v : (int64_t)v;
  return true;
}

static const char *node_attr(const json_t *node, const char *name) {
  const char *s = json_string_value(json_object_get(json_object_get(node, "attrs"), name));
  return s ? s : "";
}

static bool is_value_key(const char *key) {
  static const char *const keys[] = {"IntImm", "FloatImm", "Array", "runtime.String",
                                     "tir.StringImm"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (strcmp(key, keys[i]) == 0) return true;
  return false;
}

/* Text of our own: the JSON goes away when the file has been read. */
static const char *keep(IrCtx *cx, const char *s) { return sym(cx->syms, s); }

static bool decode_base64(const char *s, size_t n, unsigned char **out, size_t *out_n);

static AttrVal string_node(IrCtx *cx, const json_t *node) {
  AttrVal v = {.kind = AV_Str, .s = ""};
  const char *s = json_string_value(json_object_get(node, "repr_str"));
  const char *b64 = json_string_value(json_object_get(node, "repr_b64"));
  unsigned char *bytes;
  size_t n;
  if (s)
    v.s = keep(cx, s);
  else if (b64 && decode_base64(b64, strlen(b64), &bytes, &n))
    v.s = sym_n(cx->syms, (char *)bytes, n);
  return v;
}

static AttrVal int_node(const json_t *node) {
  AttrVal v = {.kind = AV_Int, .bits = 32};
  const char *dt = node_attr(node, "dtype");
  whole_number(node_attr(node, "value"), &v.i);
  if (strcmp(dt, "bool") == 0)
    v.kind = AV_Bool;
  else if (strcmp(dt, "int64") == 0 || v.i != (int32_t)v.i)
    v.bits = 64;
  return v;
}

static AttrVal float_text(const char *s, int bits) {
  AttrVal v = {.kind = AV_Float, .bits = bits};
  bool negative = *s == '-';
  if (!num_read(s + negative, strlen(s + negative), &v.f)) v.f = 0;
  if (negative) v.f = -v.f;
  return v;
}

static AttrVal node_value(IrCtx *cx, MetaFile *m, int64_t i, int depth);

static AttrVal array_node(IrCtx *cx, MetaFile *m, const json_t *node, int depth) {
  const json_t *data = json_object_get(node, "data");
  size_t n = json_array_size(data);
  AttrVal v = {.kind = AV_List};
  if (n > (size_t)m->budget) return v;
  m->budget -= (int)n;
  v.n = (int)n;
  v.at = NEW_N(AttrVal, n + 1);
  for (size_t i = 0; i < n; i++) {
    v.at[i] = node_value(cx, m, json_integer_value(json_array_get(data, i)), depth + 1);
    if (v.at[i].kind == AV_Other) return v.at[i];
  }
  return v;
}

static AttrVal node_value(IrCtx *cx, MetaFile *m, int64_t i, int depth) {
  const json_t *node = node_at(m, i);
  const char *key = type_key(node);
  if (i == 0 || !node) return (AttrVal){.kind = AV_None};
  if (strcmp(key, "IntImm") == 0) return int_node(node);
  if (strcmp(key, "FloatImm") == 0) return float_text(node_attr(node, "value"), 32);
  if (strcmp(key, "runtime.String") == 0 || strcmp(key, "tir.StringImm") == 0)
    return string_node(cx, node);
  if (strcmp(key, "Array") == 0 && depth < LIST_DEPTH) return array_node(cx, m, node, depth);
  return (AttrVal){.kind = AV_Other, .s = keep(cx, str_fmt("meta[%s]", key))};
}

/* ---- attribute objects -------------------------------------------------------------- */

static bool reads_as_float(const char *s) {
  double f;
  s += *s == '-';
  return *s >= '0' && *s <= '9' && num_read(s, strlen(s), &f) == (int)strlen(s);
}

static AttrVal plain_value(IrCtx *cx, char kind, const char *s) {
  int64_t i;
  bool whole = whole_number(s, &i);
  if (whole && kind == 'b') return (AttrVal){.kind = AV_Bool, .i = i != 0};
  if (whole && kind != 'f')
    return (AttrVal){.kind = AV_Int, .bits = i == (int32_t)i ? 32 : 64, .i = i};
  if (reads_as_float(s)) return float_text(s, 64);
  return (AttrVal){.kind = AV_Str, .s = keep(cx, s)};
}

static AttrVal field_value(IrCtx *cx, MetaFile *m, int64_t self, const char *type,
                           const char *field, const char *s) {
  int64_t i;
  char kind = field_kind(type, field);
  bool whole = whole_number(s, &i);
  if (kind == '?' && whole) {
    const json_t *node = node_at(m, i);
    kind = i > self && node && is_value_key(type_key(node)) ? 'n' : 'i';
  }
  return kind == 'n' && whole ? node_value(cx, m, i, 0) : plain_value(cx, kind, s);
}

/* One that can be written as key=value. */
static bool is_key(const char *s) {
  Lexer lx = {.text = s, .n = strlen(s)};
  Token t = lex_next(&lx);
  return t.n == lx.n && t.kind != T_MATCHQ && (t.kind == T_IDENT || t.kind >= T_LET);
}

static Attrs object_attrs(IrCtx *cx, MetaFile *m, json_t *node, int64_t self, Span at) {
  VEC(Attr) out = {0};
  const char *name;
  json_t *v;
  const char *type = strrchr(type_key(node), '.');
  json_t *fields = json_object_get(node, "attrs");
  json_object_foreach(fields, name, v) {
    const char *s = json_string_value(v);
    if (!s || !is_key(name)) continue;
    Attr a = {.name = sym(cx->syms, name), .span = at};
    a.val = field_value(cx, m, self, type ? type + 1 : "", name, s);
    vec_push(&out, a);
  }
  return (Attrs){out.n, out.at};
}

/* ---- arrays: base64 of TVM's NDArray serialisation ------------------------------------- */

static int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode_base64(const char *s, size_t n, unsigned char **out, size_t *out_n) {
  unsigned char *b = NEW_BYTES(n / 4 * 3 + 4);
  size_t k = 0;
  uint32_t acc = 0;
  int bits = 0;
  *out = b;
  for (size_t i = 0; i < n; i++) {
    int v = base64_value(s[i]);
    if (s[i] == '=') break;
    if (s[i] == '\n' || s[i] == '\r' || s[i] == ' ') continue;
    if (v < 0) return false;
    acc = acc << 6 | (uint32_t)v;
    if ((bits += 6) < 8) continue;
    bits -= 8;
    b[k++] = (unsigned char)(acc >> bits);
  }
  *out_n = k;
  return true;
}

static uint64_t load_le(const unsigned char *b, int n) {
  uint64_t v = 0;
  for (int i = 0; i < n; i++) v |= (uint64_t)b[i] << 8 * i;
  return v;
}

static bool array_dtype(const unsigned char *b, DType *dt) {
  int code = b[0], bits = b[1];
  if (load_le(b + 2, 2) != 1) return false;               /* lanes           */
  if (code == 1 && bits == 1) return *dt = DT_bool, true; /* TVM's uint1     */
  return dtype_from_dl(code, bits, dt);
}

/* magic 8, reserved 8, device 8, rank 4, dtype 4, shape 8 each, size 8, data. */
static const char *decode_array(const char *s, size_t len, const Tensor **out) {
  unsigned char *b;
  size_t n;
  DType dt;
  int64_t dim[MAX_RANK], count;
  if (!decode_base64(s, len, &b, &n)) return "an array is not base64";
  if (n < 32 || load_le(b, 8) != 0xDD5E40F096B4A13Fu)
    return "an array does not start with TVM's magic number";
  uint64_t rank = load_le(b + 24, 4);
  if (rank > MAX_RANK) return "an array has more than 8 dimensions";
  if (!array_dtype(b + 28, &dt)) return "an array has an element type that is not supported";
  size_t at = 32 + 8 * (size_t)rank;
  if (n < at + 8) return "an array is cut short";
  for (uint64_t i = 0; i < rank; i++) dim[i] = (int64_t)load_le(b + 32 + 8 * i, 8);
  size_t size = dtype_bytes(dt) > 0 ? (size_t)dtype_bytes(dt) : 1;
  uint64_t bytes = load_le(b + at, 8);
  if (!dims_count(dim, (int)rank, &count) || (uint64_t)count > (n - at - 8) / size)
    return "an array's shape does not fit its data";
  if (bytes != (uint64_t)count * size || bytes > n - at - 8)
    return "an array's size does not fit its shape";
  Tensor *t = tensor_new(dt, (int)rank, dim);
  if (bytes) memcpy(t->bytes, b + at + 8, bytes);
  unsigned char *e = t->bytes;
  for (int64_t i = 0; dt == DT_bool && i < count; i++) e[i] = e[i] != 0;
  *out = t;
  return NULL;
}

static MetaEntry constant(MetaFile *m, const json_t *node) {
  MetaEntry e = {.kind = META_Bad, .why = "a constant names no array"};
  int64_t i;
  if (!whole_number(node_attr(node, "data"), &i) || i < 0) return e;
  const json_t *text = json_array_get(m->arrays, (size_t)i);
  if (!json_is_string(text)) return e;
  if (!m->tensors.at[i])
    e.why = decode_array(json_string_value(text), json_string_length(text), &m->tensors.at[i]);
  if (m->tensors.at[i]) e = (MetaEntry){.kind = META_Constant, .cst = m->tensors.at[i]};
  return e;
}

/* ---- the section --------------------------------------------------------------------------- */

MetaFile *meta_load(const char *json, size_t n, uint32_t file, uint32_t at, Diags *d) {
  json_error_t err;
  json_t *root = json_loadb(json, n, 0, &err);
  if (!root) {
    uint32_t off = err.position > 0 && (size_t)err.position <= n ? (uint32_t)err.position : 0;
    diag_error(d, (Span){file, at + off, 1}, E0108, str_fmt("%s", err.text));
    return NULL;
  }
  MetaFile *m = NEW(MetaFile);
  m->root = root;
  m->budget = LIST_BUDGET;
  m->nodes = json_object_get(root, "nodes");
  m->arrays = json_object_get(root, "b64ndarrays");
  size_t arrays = json_array_size(m->arrays);
  for (size_t i = 0; i < arrays; i++) vec_push(&m->tensors, NULL);
  if (!json_is_array(m->nodes) || !json_is_integer(json_object_get(root, "root")))
    diag_error(d, (Span){file, at, 1}, E0108, "it needs a number \"root\" and a list \"nodes\"");
  return m;
}

void meta_free(MetaFile *m) {
  if (m) json_decref(m->root);
}

/* The number of the node of meta[key][index], -1 when there is none. */
static int64_t find_node(const MetaFile *m, const char *key, int64_t index) {
  const json_t *map = node_at(m, json_integer_value(json_object_get(m->root, "root")));
  const json_t *keys = json_object_get(map, "keys"), *data = json_object_get(map, "data");
  for (size_t i = 0; i < json_array_size(keys); i++) {
    const char *k = json_string_value(json_array_get(keys, i));
    if (!k || strcmp(k, key) != 0) continue;
    const json_t *list = node_at(m, json_integer_value(json_array_get(data, i)));
    const json_t *items = json_object_get(list, "data");
    if (index < 0 || (size_t)index >= json_array_size(items)) return -1;
    return json_integer_value(json_array_get(items, (size_t)index));
  }
  return -1;
}

MetaEntry meta_get(IrCtx *cx, MetaFile *m, const char *key, int64_t index, Span at) {
  MetaEntry e = {.kind = META_Missing};
  int64_t i = m ? find_node(m, key, index) : -1;
  json_t *node = i < 0 || !m ? NULL : node_at(m, i);
  if (!node) return e;
  const char *type = type_key(node);
  if (strcmp(type, "relay.Constant") == 0) return constant(m, node);
  if (strncmp(type, "relay.attrs.", 12) == 0)
    return (MetaEntry){.kind = META_Attrs, .attrs = object_attrs(cx, m, node, i, at)};
  if (strcmp(type, "tir.Any") == 0) return (MetaEntry){.kind = META_Any};
  if (is_value_key(type)) return (MetaEntry){.kind = META_Value, .val = node_value(cx, m, i, 0)};
  return (MetaEntry){.kind = META_Other};
}
