/* parse.h -- the parser's inside: what its files share.
 *
 * A program is a set of files in one flat namespace.  Each is skimmed for its
 * definitions first, so order does not matter; then types, then bodies are
 * parsed.  Definitions of the library are parsed when something names them.
 *
 * Mistakes: the first of a statement is reported and sets `panic`; everything
 * then backs out to the statement loop, which skips to the next `;` and binds
 * poison.  `give_up` ends the definition.                                    */
#ifndef RVM_PARSER_PARSE_H
#define RVM_PARSER_PARSE_H
#include "parser/lex.h"
#include "parser/parser.h"

/* About 3 KB of stack a level, and every later pass recurses along nesting only: all of
 * it fits a stack of 1 MB. */
enum { MAX_DEPTH = 256, FILE_LIMIT = 1 << 30 };

typedef struct MetaFile MetaFile;

typedef enum { ITEM_Def, ITEM_Type, ITEM_Extern, ITEM_Import, ITEM_Meta } ItemKind;
typedef struct Item {
  ItemKind kind;
  Token name;                         /* STRING for imports                    */
  size_t at;                          /* where its keyword stands              */
  const char *doc;
  struct ParseFile *file;
  bool replaced;                      /* by the program's own definition       */
  bool wanted;
  size_t end;                         /* where the next item starts            */
  Global *global;  DataDef *data;     /* what it declares                      */
} Item;

typedef struct ParseFile {
  uint32_t file;
  bool library;                       /* may be replaced; dropped when unused  */
  bool import;                        /* not the file that was asked for       */
  size_t first;                       /* behind the lines in front             */
  VEC(Item *) items;
  Map own_ctor;                       /* Sym -> Ctor: types of this file that nobody replaced */
  MetaFile *meta;
  size_t meta_at;                     /* the text behind #[metadata], 0: none  */
} ParseFile;

/* A name of a definition's bracket list, a dim bound by a parameter type, or a
 * type parameter.  Whether a listed name is a type or a dim shows at its use. */
typedef enum { TN_Open, TN_Type, TN_Dim } TyNameKind;
typedef struct {
  Sym name;  Span span;
  TyNameKind kind;
  TyVar *var;  Dim dim;
  int owner;                          /* number of the function or fn type that binds it */
  int level;
  int shadow;                         /* index + 1 of the entry it hides       */
} TyName;

typedef struct { Sym name;  Var *var;  int shadow; } LocalName;
/* What %3 stands for.  n_binds: how many bindings its statement made. */
typedef struct { Span span;  Atom atom;  int n_binds;  bool closed; } GraphName;

typedef struct Parser {
  IrCtx *cx;  Module *m;  Sources *src;  Diags *d;
  VEC(ParseFile *) files;
  Map def_item, type_item;            /* Sym -> Item, after replacement        */
  VEC(Item *) queue;                  /* library definitions to be parsed      */
  /* the file and definition being read */
  ParseFile *f;
  Lexer lx;
  Token tok, prev;                    /* prev: the last one consumed           */
  bool panic, give_up;
  uint32_t failed_at;                 /* the token that was reported last      */
  bool declaring;                     /* naming a type does not want it        */
  int depth;
  int dim_products;                   /* in the extent being read              */
  BlockBuilder *bb;
  VEC(LocalName) locals;  Map local_at;         /* Sym -> index + 1             */
  VEC(TyName) tynames;    Map tyname_at;
  Map unknown;                        /* names of this function that were reported */
  Map graph;                          /* digits -> GraphName of this function  */
  Map graph_of;                       /* Var -> GraphName                      */
  Map graph_seen;                     /* digits -> GraphName of earlier functions */
  VEC(GraphName *) graph_open;        /* those whose block is being read       */
  bool needs_place;                   /* one was used after its block had ended */
  int pattern_from;                   /* locals before the clause being read   */
  int fn_level;                       /* functions around this point           */
  int owner, owner_level;             /* binder of unknown dims; 0: none       */
  int next_owner;
  const char *owner_name;             /* for messages                          */
  VarList *free_params;               /* where free_var goes; NULL: refused    */
} Parser;

typedef struct { int locals, tynames; } Mark;

/* A block being built: what to restore when it ends. */
typedef struct { BlockBuilder bb, *outer;  Mark names;  int graph_open;  Span span; } OpenBlock;

/* A value that has not been given a name: an atom, or an expression to bind. */
typedef struct { Atom atom;  Expr *e;  Span span; } Val;

/* parse.c: tokens */
void advance(Parser *p);
bool at_tok(const Parser *p, Tok k);
bool accept(Parser *p, Tok k);
bool expect(Parser *p, Tok k, Span opened);       /* opened: {0} or the bracket */
bool may_report(const Parser *p);
bool begin_fail(Parser *p);                       /* sets panic; false if one was reported */
/* A mistake of syntax: once per statement.  A mistake of names: goes on. */
#define fail(p, at, ...) (begin_fail(p) ? diag_error((p)->d, (at), __VA_ARGS__) : false)
#define complain(p, at, ...) (may_report(p) ? diag_error((p)->d, (at), __VA_ARGS__) : false)
bool fail_expected(Parser *p, const char *what);  /* found: the current token  */
Token peek(const Parser *p);                      /* the token after p->tok    */
bool starts_item(const Parser *p);                /* def, type, extern, #[metadata], the end */
bool deeper(Parser *p, Span at);                  /* pairs with p->depth--     */
/* The mistake that k is missing behind the last token; then on as if it were there. */
void forgotten(Parser *p, Tok k, Span in, const char *note);
void skip_to_statement_end(Parser *p);
void skip_to_brace(Parser *p);                    /* that closes this nesting; ends panic */
/* Cut a name such as a/b at its slash: the token becomes a. */
void split_name(Parser *p);
uint32_t first_part(const Token *t);              /* length up to the slash    */
Sym  tok_sym(Parser *p, const Token *t);

/* names.c: scopes and suggestions */
Mark mark_names(const Parser *p);
void drop_names(Parser *p, Mark m);
void push_local(Parser *p, Var *v);
Var *find_local(const Parser *p, const char *s, uint32_t n);
Var *local_since(const Parser *p, const Token *t, int from);   /* bound since mark.locals */
TyName *push_tyname(Parser *p, Sym name, Span at, TyNameKind k);
TyName *find_tyname(Parser *p, Sym name);
void help_local(Parser *p, const Token *t);
void help_global(Parser *p, const char *name);
void help_word(Parser *p, const char *name);      /* operators and constructors */
void help_type(Parser *p, const char *name);
void help_dtype(Parser *p, const char *name);

/* hints.c: what was probably meant */
void hint_expected(Parser *p, const char *what);  /* behind the E0103 about p->tok */
const char *hint_word(const char *word);          /* of other languages; or NULL */
const char *hint_dtype(const char *word);         /* float32 for f32; or NULL  */
Ctor *find_ctor(Parser *p, Sym name);
DataDef *find_type(Parser *p, Sym name);
Global *find_global(Parser *p, Sym name);

/* parse_type.c */
Type *parse_type(Parser *p);
/* [A, n]: pushes the names with kind Open, bound by owner. */
void  parse_tylist(Parser *p, int owner);
/* What owner bound since mark, in order; Open names become types. */
void  take_quantifiers(Parser *p, Mark since, int owner, int *n_vars, TyVar ***var, int *n_dims,
                       Dim **dim);

/* parse_attr.c */
bool at_attr(const Parser *p);                    /* key = ...                 */
void parse_attrs(Parser *p, Attrs *out);          /* key=value {, key=value}   */
bool parse_number(Parser *p, bool negative, const Tensor **cst, AttrVal *val);
bool parse_meta_ref(Parser *p, Sym *key, int64_t *index, Span *at);   /* meta[Key][i] */

/* parse_expr.c */
Fn    *parse_fn_rest(Parser *p, Span at, const char *name);   /* after fn / def @f */
Block *parse_block(Parser *p);                    /* { ... } in a scope of its own */
void   open_block(Parser *p, OpenBlock *o);
Block *close_block(Parser *p, OpenBlock *o, Val result);
Fn    *parse_bare(Parser *p);                     /* a text that is one expression */
void   start_function(Parser *p);                 /* graph names start anew    */
Val    parse_sequence(Parser *p);                 /* statements into p->bb     */
Atom   to_atom(Parser *p, Val v);
Val    parse_atom(Parser *p);

/* parse_prim.c: the atoms of expressions */
Val    val_atom(Atom a);
Val    val_expr(Expr *e);
Val    poison_val(Span at);
Val    parse_primary(Parser *p);
const OpDef *need_op(Parser *p, const char *name, Span at);

/* meta.c: the #[metadata] section */
MetaFile *meta_load(const char *json, size_t n, uint32_t file, uint32_t at, Diags *d);
void      meta_free(MetaFile *m);
typedef enum {
  META_Missing, META_Bad, META_Constant, META_Value, META_Attrs, META_Any, META_Other
} MetaKind;
typedef struct {
  MetaKind kind;
  const Tensor *cst;  AttrVal val;  Attrs attrs;     /* Constant, Value, Attrs  */
  const char *why;                                   /* Bad                     */
} MetaEntry;
MetaEntry meta_get(IrCtx *cx, MetaFile *m, const char *key, int64_t index, Span at);

/* place.c: graph bindings used outside the scope that holds their definition
 * move to the nearest block around all uses. */
void place_graph(Parser *p, Block *body);

/* parse.c: files */
ParseFile *skim_file(Parser *p, uint32_t file, bool library, bool import);
void declare_items(Parser *p);        /* names and types of all files          */
void parse_bodies(Parser *p);
Parser parser_start(IrCtx *cx, Sources *src, Diags *d);
Module *parser_done(Parser *p, int errors_before);
void want(Parser *p, Item *it);       /* parse this definition too             */
#endif
