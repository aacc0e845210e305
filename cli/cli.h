/* cli.h -- what the commands share: exit codes, options, the driver.          */
#ifndef RVM_CLI_H
#define RVM_CLI_H
#include <stdio.h>
#include "cli/file/tensor_file.h"
#include "ir/diff.h"
#include "vm/image.h"
#include <rvm/rvm.h>

typedef enum { EXIT_OK = 0, EXIT_REJECTED = 1, EXIT_USAGE = 2, EXIT_LIMIT = 3, EXIT_IO = 4, EXIT_BUG = 70,
               EXIT_INTERRUPT = 130 } ExitCode;

/* ---- options: one table per command ------------------------------------------ */
typedef enum { OPT_FLAG, OPT_TEXT, OPT_LIST, OPT_COUNT_OF, OPT_SOME, OPT_BYTES, OPT_NUMBER,
               OPT_LEVEL, OPT_MAYBE } OptKind;
typedef struct {
  const char *name, *arg, *help;     /* "input", "NAME=SPEC", "..."            */
  OptKind kind;                      /* COUNT_OF: unsigned integer, SOME: not 0, BYTES: one with K,
                                        M or G; NUMBER: real, LEVEL: such a 0, 1 or 2; MAYBE: text,
                                        "" without =VALUE */
  size_t at;                         /* offset into the command's options      */
} Opt;
typedef VEC(const char *) TextList;
typedef struct { double value; bool given; } NumberOpt;

typedef struct Command {
  const char *name, *args, *summary, *examples;
  const Opt *opts;  int n_opts;
  size_t opts_size;
  int min_args, max_args;
  int (*run)(void *opts, int n, char **args);
} Command;
extern const Command cmd_run, cmd_check, cmd_print, cmd_fmt, cmd_build, cmd_disasm, cmd_info, cmd_ops,
    cmd_explain, cmd_version, cmd_bench, cmd_opt, cmd_grad, cmd_train;

/* Every command that reads a program has these first. */
typedef struct { const char *diag; } CommonOpts;

/* ---- the driver: text -> typed module -> image ---------------------------------- */
typedef struct Driver {
  Sources sources;  Diags *diags;  IrCtx *cx;
  const char *diag_format;           /* NULL or "json"                         */
  int opt_level;                     /* of the pipeline run before lowering    */
  const char *passes;                /* or these passes, "copy,dce"; NULL: opt_level */
  const TensorSet *params;           /* weights that become constants of a lone entry, or NULL ... */
  bool (*stays)(void *ud, Sym name);  void *stays_ud;  /* ... except of these parameters */
  int bound;                         /* parameters that became constants       */
} Driver;
struct PassOpts;
/* Runs d's passes over the module; o may be NULL.  false with *code: a name
 * that is no pass, or a bug; either has been said on stderr. */
bool    driver_optimise(Driver *d, Module *m, const struct PassOpts *o, int *code);
/* Replaces grad, vjp, jvp and checkpoint by functions.  false: *code is 0 when
 * the reason is among d's diagnostics, else it has been said. */
bool    driver_differentiate(Driver *d, Module *m, int *code);
/* Adds grad(@f), or another form, to a module without forms; NULL as above. */
Global *driver_gradient(Driver *d, Module *m, Global *f, DiffKind form, int *code);
/* PassOpts.eval with the interpreter; ud is the Driver. */
bool    driver_eval(void *ud, Block *closed, Type *t, int n, const Tensor **out);
void    driver_init(Driver *d, const char *diag_format);
int     driver_level(const NumberOpt *opt);           /* --opt: 0 to 2, 2 if not given */
/* Reads, resolves and (if typed) checks; NULL after reporting. */
Module *driver_load(Driver *d, const char *path, bool typed);
/* The same with the text of the file at hand. */
Module *driver_load_text(Driver *d, TextFile f, bool typed);
/* Reports that the program at path does not define a function, and what it does define. */
void    driver_no_function(Driver *d, Module *m, const char *path, const char *name);
/* Render what was reported to stderr; the exit code that goes with it. */
int     driver_report(Driver *d);
/* A serialised image, and the program it was made of: NULL where it was a file. */
typedef struct { uint8_t *bytes;  size_t n;  Module *m; } Compiled;

/* The image of a .rly program, or the bytes of a .rvm file.  entry: NULL for
 * every exportable function of the file.  On failure *code is the exit code and
 * everything has been reported. */
bool    driver_image(Driver *d, const char *path, const char *entry, Compiled *out, int *code);

/* The image of a text that stands for the file of its name (no text: of that
 * file).  entry as above, or several: "train_step,__init". */
bool    driver_image_source(Driver *d, TextFile f, const char *entry, Compiled *out, int *code);

/* The same; what is wrong with the text stays in d->diags. */
bool    driver_image_text(Driver *d, TextFile f, const char *entry, Compiled *out);

/* A call that failed: the message with the line of the program, or as JSON, on
 * stderr; the exit code that goes with it. */
int     driver_fault(Driver *d, const char *path, const rvm_error *e);

rvm_alloc host_alloc(void);          /* malloc, aligned for vectors            */
/* What a run may take where nothing else is said: seven eighths of the machine's memory, or of the
 * control group's; a recursion without end is then an error, and not the end of other programs.
 * 0: not known. */
uint64_t host_memory(void);
int  fail_usage(const Command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int  fail_io(const char *why);
/* May this file be written (NULL: there is none to write)?  Asked before the work, not after it;
 * false, said: *code is the exit code. */
bool can_write(const char *path, int *code);
/* An image that is refused: why, and where as far as that is known (image.h). */
void say_bad_image(const char *path, const char *why, uint64_t at, uint32_t func, uint32_t pc);
/* Text to the file, whole or not at all, or (NULL) to stdout; the exit code. */
int  text_out(const StrBuf *b, const char *path);
/* tensor_file_read for a command: EXIT_OK, or the exit code after saying why. */
int  tensors_read(const char *path, TensorSet *out);
bool has_suffix(const char *s, const char *suffix);
#endif
