/* cmd_image.c -- build, disasm, info: commands about images.                  */
#include "base/file.h"
#include "cli/emit.h"
#include "cli/value/spec.h"
#include "codegen/lower/lower.h"
#include <rvm/rvm.h>

typedef struct {
  CommonOpts common;
  const char *out, *entry, *passes, *emit;
  TextList params;
  NumberOpt opt;
  bool fast_math;
} BuildCmd;
static const Opt build_opts[] = {
    {"out", "FILE.rvm", "where to write (default: beside the source)", OPT_TEXT,
     offsetof(BuildCmd, out)},
    {"entry", "NAME", "export only this function (default: all of the file)", OPT_TEXT,
     offsetof(BuildCmd, entry)},
    {"params", "FILE", "weights of --entry (default: main), which the image then holds", OPT_LIST,
     offsetof(BuildCmd, params)},
    {"opt", "N", "optimise: 0, 1 or 2 (default)", OPT_LEVEL, offsetof(BuildCmd, opt)},
    {"passes", "A,B", "optimise with these passes (rvm opt --list)", OPT_TEXT,
     offsetof(BuildCmd, passes)},
    {"fast-math", NULL, "with --emit=llvm,asm: the code of rvm run --fast-math", OPT_FLAG,
     offsetof(BuildCmd, fast_math)},
    {"emit", "KIND,...", "text instead, printed or to --out: " EMIT_KINDS, OPT_TEXT,
     offsetof(BuildCmd, emit)},
    {"diag", "json", "diagnostics as JSON lines", OPT_TEXT, offsetof(BuildCmd, common.diag)},
};

static bool none_stays(void *ud, Sym name) {
  (void)ud, (void)name;
  return false;
}

static char *beside(const char *path) {
  size_t n = strlen(path);
  return str_fmt("%.*s.rvm", has_suffix(path, ".rly") ? (int)n - 4 : (int)n, path);
}

/* An image that lacks weights it was to hold is of no use: say which, and why. */
static bool all_bound(const Driver *d, Module *m, const char *entry) {
  const TensorSet *w = d->params;
  const Fn *fn = w->n ? module_find(m, entry + (*entry == '@'))->fn : NULL;
  for (int k = 0; fn && k < fn->n; k++)
    for (int i = 0; i < w->n; i++) {
      const Var *v = fn->param[k];
      size_t n = strlen(v->name);
      if (strncmp(w->at[i].name, v->name, n) || (w->at[i].name[n] && w->at[i].name[n] != '.'))
        continue;
      fprintf(stderr,
              "rvm: --params: `%s` does not make all of %%%s: %s, or the program calls @%s\n",
              w->at[i].name, v->name, type_text(v->type), entry + (*entry == '@'));
      return false;
    }
  if (!w->n || d->bound) return true;
  fprintf(stderr,
          "rvm: --params: no parameter of @%s has the name of a tensor; the files hold %s\n",
          entry + (*entry == '@'), set_names(w));
  return false;
}

/* false after saying what is wrong with the image. */
static bool verified(const char *path, const Compiled *c, Image *image) {
  ImageError err = {0};
  bool *launch;
  if (image_read(c->bytes, c->n, lower_alloc(), image, &err) &&
      image_verify(image, lower_alloc(), &launch, &err))
    return true;
  say_bad_image(path, err.why, err.at, err.func, err.pc);
  return false;
}

static int run_build(void *opts, int n, char **args) {
  (void)n;
  BuildCmd *o = opts;
  Driver d;
  Compiled c;
  int code;
  TensorSet weights = {0};
  if (o->emit && !emit_known(o->emit)) return fail_usage(&cmd_build, "--emit takes " EMIT_KINDS);
  for (int i = 0; i < o->params.n; i++)
    if ((code = tensors_read(o->params.at[i], &weights)) != EXIT_OK) return code;
  driver_init(&d, o->common.diag);
  d.opt_level = driver_level(&o->opt);
  d.passes = o->passes;
  d.params = &weights;
  d.stays = none_stays;
  const char *entry = o->entry || !weights.n ? o->entry : "main";
  if (weights.n && strchr(entry, ',')) return fail_usage(&cmd_build, "--params are of one --entry");
  if (!driver_image(&d, args[0], entry, &c, &code)) return code;
  Image image; /* a file may hold anything */
  if (!c.m && !verified(args[0], &c, &image)) return EXIT_REJECTED;
  if (weights.n && c.m && !all_bound(&d, c.m, entry)) return EXIT_REJECTED;
  if (o->emit) return emit_stages(o->emit, o->out, args[0], &c, o->fast_math);
  const char *out = o->out ? o->out : beside(args[0]), *why = file_write(out, c.bytes, c.n);
  return why ? fail_io(str_fmt("%s: %s", out, why)) : EXIT_OK;
}
const Command cmd_build = {
    .name = "build",
    .args = "FILE.rly [--out FILE.rvm] [--entry NAME] [--params FILE]",
    .summary = "Compile a program to an image that any rvm, or a device, runs",
    .examples = "  rvm build model.rly --out model.rvm\n  rvm run model.rvm --inputs x.npz\n"
                "  rvm build model.rly --params weights.safetensors\n",
    .opts = build_opts,
    .n_opts = (int)(sizeof build_opts / sizeof *build_opts),
    .opts_size = sizeof(BuildCmd),
    .min_args = 1,
    .max_args = 1,
    .run = run_build,
};

/* *m: the program it was made of, NULL for a .rvm file. */
static bool read_image(const char *path, const CommonOpts *o, Image *image, Module **m, int *code) {
  Driver d;
  Compiled c;
  driver_init(&d, o->diag);
  if (!driver_image(&d, path, NULL, &c, code)) return false;
  *m = c.m;
  if (verified(path, &c, image)) return true;
  *code = *m ? EXIT_BUG : EXIT_REJECTED;
  return false;
}

static const Opt common_opts[] = {
    {"diag", "json", "diagnostics as JSON lines", OPT_TEXT, offsetof(CommonOpts, diag)},
};
static int run_disasm(void *opts, int n, char **args) {
  (void)n;
  Image image = {0};
  Module *m = NULL;
  int code;
  size_t size;
  bool good = read_image(args[0], opts, &image, &m, &code);
  if (!good && !(m && image.n_funcs)) return code;
  char *text = image_disasm(&image, lower_alloc(), &size);
  fwrite(text, 1, size, stdout);
  return good ? EXIT_OK : code;
}
const Command cmd_disasm = {
    .name = "disasm",
    .args = "FILE.rly|FILE.rvm",
    .summary = "Print an image: types, constants, kernels, bytecode with source lines",
    .examples = "  rvm disasm model.rly\n",
    .opts = common_opts,
    .n_opts = (int)(sizeof common_opts / sizeof *common_opts),
    .opts_size = sizeof(CommonOpts),
    .min_args = 1,
    .max_args = 1,
    .run = run_disasm,
};

/* ---- info -------------------------------------------------------------------------- */
static void print_type(const Image *m, uint32_t t) {
  const IType *it = &m->type[t];
  if (it->kind == IT_DATA) {
    printf("%s", m->text + it->name);
  } else if (it->kind == IT_SCALAR) {
    printf("%s", dtype_name((DType)it->dtype));
  } else if (it->kind == IT_TENSOR) {
    printf("Tensor[(");
    for (int i = 0; i < it->rank; i++) {
      int64_t d = m->dims[it->first_dim + (uint32_t)i];
      if (d < 0)
        printf("%s?", i ? ", " : "");
      else
        printf("%s%lld", i ? ", " : "", (long long)d);
    }
    printf("), %s]", dtype_name((DType)it->dtype));
  } else {
    printf(it->kind == IT_REF ? "ref" : "fn");
  }
}
static void print_doc(const char *s) {
  for (size_t n; *s; s += n + (s[n] == '\n')) {
    n = strcspn(s, "\n");
    printf("///%s%.*s\n", n ? " " : "", (int)n, s);
  }
}
/* As the program says it, with the names of extents, or as the image does. */
static void print_type_of(const Image *m, uint32_t type, Type *said) {
  if (said)
    fputs(type_text(said), stdout);
  else
    print_type(m, type);
}
static void print_entries(const Image *m, Module *program) {
  for (uint32_t e = 0; e < m->n_entries; e++) {
    const IEntry *x = &m->entry[e];
    const IFunc *f = &m->func[x->func];
    const Global *g = program ? module_find(program, m->text + x->name) : NULL;
    const Fn *fn = g && (uint32_t)g->fn->n == f->n_params ? g->fn : NULL;
    if (x->doc) print_doc(m->text + x->doc);
    printf("@%s(", m->text + x->name);
    for (uint32_t i = 0; i < f->n_params; i++) {
      printf("%s\n  %%%s: ", i ? "," : "", m->text + m->name_list[x->first_name + i]);
      print_type_of(m, m->type_list[f->first_param + f->n_captures + i],
                    fn ? fn->param[i]->type : NULL);
    }
    printf("%s) -> ", f->n_params ? "\n" : "");
    print_type_of(m, f->result, fn ? fn->ret : NULL);
    printf("\n");
  }
}
static int run_info(void *opts, int n, char **args) {
  (void)n;
  Image m;
  Module *program;
  int code;
  if (!read_image(args[0], opts, &m, &program, &code)) return code;
  print_entries(&m, program);
  const struct {
    uint32_t n;
    const char *what;
  } part[] = {{m.n_funcs, "function"},
              {m.n_code, "instruction"},
              {m.n_kernels, "kernel"},
              {m.n_types, "type"},
              {m.n_consts, "constant"}};
  for (size_t i = 0; i < sizeof part / sizeof *part; i++)
    printf("%s%u %s%s", i ? ", " : "\n", part[i].n, part[i].what, part[i].n == 1 ? "" : "s");
  printf(" (%llu bytes)\n", (unsigned long long)m.n_data);
  return EXIT_OK;
}
const Command cmd_info = {
    .name = "info",
    .args = "FILE.rly|FILE.rvm",
    .summary = "Show entry points with parameters and types, and what the image holds",
    .examples = "  rvm info model.rvm\n",
    .opts = common_opts,
    .n_opts = (int)(sizeof common_opts / sizeof *common_opts),
    .opts_size = sizeof(CommonOpts),
    .min_args = 1,
    .max_args = 1,
    .run = run_info,
};
