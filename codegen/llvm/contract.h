/* contract.h -- inside codegen/llvm: contractions as register-tiled products.
 *
 * The parallel variables of a contraction are a batch (both factors use them),
 * rows (broadcast in a tile) or columns (in the lanes of vectors).  A set of
 * variables counts as one index, the last variable fastest.
 *
 * Columns are cut into panels of two vectors, rows into tiles of up to rows_max
 * of nearly equal height.  A factor is read from packed memory: of the rows,
 * tile after tile, element (k, i) of a tile at k * height + i; of the columns,
 * panel after panel, element (k, j) at k * width + j.  The depth goes through
 * all reduced variables in one order, the same for both.                     */
#ifndef RVM_CODEGEN_LLVM_CONTRACT_H
#define RVM_CODEGEN_LLVM_CONTRACT_H
#include "codegen/llvm/arith.h"
#include "codegen/llvm/lanes.h"

enum { ROWS_MAX = 14, MAX_OUTER = 24 };
enum { ROWS, COLS };                         /* sides                         */

/* times * the extent of the kernel, and its value in the function at hand. */
typedef struct { uint32_t var;  KE ext;  int64_t times;  Val n; } Axis;
typedef struct {
  int n, n_zero;
  Axis axis[K_MAX_LOOPS];
  uint32_t zero[K_MAX_LOOPS];                /* variables that stay 0: one with the next axis, or
                                                of extent 1                   */
  Val total;
} Set;

typedef struct {
  Emit *e;
  uint32_t at;                               /* the statement                 */
  DType t;  LLVMTypeRef type;  int bytes;    /* of the sum: halves are f32    */
  unsigned lanes;                            /* of a vector; a panel has two  */
  int rows_max;
  KE factor[2];                              /* of the rows, of the columns   */
  Set batch, side[2], red;
  Set pack[2], depth[2];                     /* sides and depth as each factor may be walked */
  Set out[2];                                /* sides as the epilogue may be walked */
  uint32_t outer[MAX_OUTER];  int n_outer;   /* variables from around that are used */
  bool by_rows;                              /* the epilogue's lanes are rows */
  bool in_lanes;                             /* the epilogue is taken in lanes */
  bool split_batch;                          /* the parts of a launch are of the batch */
} Con;

/* ---- contract_set.c: sets of variables, positions, functions of their own --------- */
void set_add(Set *s, uint32_t var, KE ext);
/* Give the extents values in the function of e. */
void set_values(Emit *e, Set *s);
/* s with neighbours joined where one(cx, outer, inner, extent) allows, without axes of extent 1. */
typedef bool (*JoinFn)(const Con *c, int side, uint32_t outer, uint32_t inner, int64_t extent);
Set set_joined(Con *c, const Set *s, JoinFn one, int side);
/* The variables of s at position `at` counted over all of them. */
void set_at(Emit *e, const Set *s, Val at);
bool val_known(Val v, int64_t *out);
int64_t known_or(Val v, int64_t other);

/* Runs along the last axis of positions [from, from + n): sets the variables to the start of a
 * run; pos counts from `from`, len is the run's length. */
typedef struct { Val slot, pos, len, first, n;  Block head, exit; } Runs;
Runs runs_begin(Emit *e, const Set *s, Val from, Val n);
void runs_end(Emit *e, Runs *r);

/* An internal function: buffers, symbols, state, outer and batch variables, then
 * n_more arguments of its own.  begin: *in is a copy of *c that emits into it;
 * end gives e back; call passes what c's function has at hand. */
typedef struct {
  Val fn;  LLVMTypeRef type;  Emit emit;
  Val *var;  bool *in_memory;                /* of e, meanwhile               */
  unsigned first;                            /* argument of its own           */
} Sub;
bool sub_begin(const Con *c, Con *in, Sub *s, const char *name, LLVMTypeRef *more, unsigned n_more);
void sub_end(const Con *c, Con *in, Sub *s);
Val sub_arg(const Sub *s, unsigned i);
Val sub_call(const Con *c, const Sub *s, Val *more, unsigned n_more);
void return_failure(Emit *e, Val status);    /* leave the function unless it is 0 */

/* Loops over the batch, or over this part's share of its first axis; the position of its
 * variables, counted over all of them. */
void open_batch(const Con *c, Loop *l);
void close_batch(const Con *c, Loop *l);
Val flat_batch(const Con *c);

/* ---- contract_tile.c: functions shared by a module ----------------------------------- */
/* Which rows a tile takes through which depths: the depths are taps of `each` depths, the first
 * `taps` of them for the rows with a bit in rows[0], rows[1] and so on, the next ones again, to
 * the end. */
enum { MAX_EDGE = 9 };
typedef struct { int taps;  int64_t each;  uint32_t rows[MAX_EDGE]; } Edge;
/* sum(height, 2 vectors) (+)= a(kk, height) * b(kk, stride): arguments a, b, sum, kk, stride of b
 * in elements, whether sum starts at zero, a base and a step.  Sum's rows are 2 vectors apart.
 * columns: that are computed, at least; where the tile is chosen for a value, unused.
 * pitch: APART: a is an array of 32-bit offsets from the base, in elements, one per depth, to where
 * the rows lie, row i `i / period * jump + i % period` elements from the first (period 0: side by
 * side); above 0: rows lie so many elements apart, depths side by side.  If not APART, base is
 * memory that will be read soon: more than one row bring it into the cache, at each depth a line
 * `step` bytes on.
 * sets: each sum is that of so many partial sums, which do not wait for each other; 1 with an edge.
 * edge: NULL: all rows have all depths. */
enum { PACKED, APART = -1, TILE_ARGS = 8 };
typedef struct {
  int height, columns, sets;
  int64_t pitch, period, jump;
  const Edge *edge;
} Tall;
/* The tile for so many columns of a panel, a value, of n in all (-1: not known): the last panel
 * may be a narrower one. */
Val tile_for(const Con *c, const Tall *f, int64_t n, Val columns);
/* The sums of a tile that stay in registers until the epilogue, in the function at hand: for each
 * row tile_vectors(columns) vectors, of tile_lanes lanes each.  Arguments as of a tile. */
void tile_sums(const Con *c, const Tall *tall, Val a, Val b, Val deep, Val stride, Val base,
               Val *sum);
int tile_vectors(const Con *c, int64_t columns);
unsigned tile_lanes(const Con *c, int64_t columns, int vector);
LLVMTypeRef tile_type(const Emit *e);
/* An internal function of the module that is made once; *fresh: it has no body. */
Val shared_function(const Con *c, const char *name, LLVMTypeRef type, bool *fresh);
/* A copy of c that emits into fn, with *in, whose builder the caller disposes of. */
Con open_shared(const Con *c, Emit *in, Val fn);
/* A square of vectors turned over: (from, from_stride, to, to_stride, rows of to that are
 * written, lanes of each); from has as many rows as a vector lanes. */
Val turn_function(const Con *c);
LLVMTypeRef turn_type(const Emit *e);

/* The order of a sum: one after the other, in the order of the depth; but of so few rows and so
 * many depths, in partial sums.  So it depends on the extents, not on what is known of them. */
enum { SETS_ROWS = 2, SETS_DEPTH = 32 };

/* ---- contract_pack.c ------------------------------------------------------------------- */
/* The function that packs one panel: arguments base, width, from, w (of width, the rest zeros). */
bool pack_function(const Con *c, int side, Sub *s);
/* Can the columns be read where they are, each panel side by side in one depth (a weight may
 * lie in tiles of whole panels)?  *stride: of one depth, in elements. */
bool columns_in_place(const Con *c, Val *stride);

/* ---- contract_out.c ---------------------------------------------------------------------- */
/* The function that takes a tile of sums to the epilogue: arguments sum, first row, rows, first
 * column, columns, room for a turned tile; 0 or a status. */
bool out_function(const Con *c, Sub *s);
bool choose_epilogue(Con *c);
/* Can sums go to the epilogue from registers?  The function that takes such a tile through product
 * and epilogue: arguments rows (pitch: as above), columns, depth, stride of the columns, first row,
 * first column, base; 0 or a status. */
bool straight_epilogue(const Con *c);
bool straight_function(const Con *c, const Tall *tall, Sub *s);
/* The epilogue in lanes of one vector of sums: of this row and the columns from col; mask: those
 * that are there, or NULL. */
void vector_out(const Con *c, unsigned lanes, Val mask, Val row, Val col, Val sum);

/* ---- contract_window.c ------------------------------------------------------------------- */
/* One direction of a window: output q, tap t read position step * q + apart * t. */
typedef struct {
  uint32_t out, tap;                         /* variables; KE_NONE: absent    */
  int64_t n, taps, step, apart;
} Way;
/* The data as planes: per channel, per phase (columns a stride keeps apart), rows of pitch. */
typedef struct {
  Con *c;
  int data;                                  /* side                          */
  Way down, across;
  uint32_t channel;  int64_t channels;       /* a reduced variable, or KE_NONE and 1 */
  unsigned lanes;
  int block;                                 /* output rows at a time         */
  bool whole;                                /* a plane holds all rows, not only a block's */
  int64_t pitch, rows, phases;
  Val plane;
} Window;
/* Do taps and outputs move factor `data` by steps, with at most one reduced axis beside the taps
 * (only if channels)?  Sets w's ways and channels. */
bool read_steps(Con *c, int data, bool channels, Window *w);
/* Is factor `data` read through a window, with at most one reduced axis beside the taps
 * (only if channels)? */
bool read_window(Con *c, int data, bool channels, Window *w);
int64_t way_reach(const Way *w);
/* Copy the planes of all channels to w->plane, the variables before the window's being set. */
void copy_planes(const Window *w);
void set_index(Emit *e, uint32_t var, Val v); /* unless var is KE_NONE        */
/* A contraction over the taps of a small window, few outputs per channel; false:
 * it is none, nothing is emitted. */
bool window_contract(Con *c);

/* ---- contract_walk.c --------------------------------------------------------------------- */
/* Output o and tap t of a direction read position origin + per_out * o + per_tap * t of index
 * `dim`, which has positions [0, extent), `pitch` elements apart.  dim < 0: the direction moves
 * nothing. */
typedef struct { int64_t origin, extent, per_out, per_tap, pitch;  int dim; } Walk;
bool walk_inside(const Walk *r, int64_t out, int64_t tap);
/* Of a direction in a load, if both are constants and nothing else moves that index.  Sets its
 * variables to 0. */
bool find_walk(const Con *c, const KNode *load, const Way *d, Walk *r);
/* The data of a window that is a load of the sum's type, with zeros where a direction leads
 * outside, if anywhere. */
typedef struct { const KNode *load;  Walk down, across; } Source;
bool find_source(const Window *w, Source *s);
/* The address of position 0 of both directions, the other variables being set. */
Val source_start(const Con *c, const Source *s);
void zero_all(const Con *c);                 /* the variables of all sets     */
/* Is the depth walked row of taps by row of taps, and all channels of a tap together? */
bool taps_in_rows(const Window *w);
/* The axes of the data before a window's. */
Set images(const Con *c, int side);

/* ---- contract_channels.c ----------------------------------------------------------------- */
/* A depthwise convolution of channels that lie side by side; false as above. */
bool channels_contract(Con *c);

/* ---- contract_flat.c --------------------------------------------------------------------- */
/* A convolution whose result is as wide as the data; false as above. */
bool flat_contract(Con *c);

/* ---- contract_plane.c -------------------------------------------------------------------- */
/* A convolution by a constant weight; false as above. */
bool plane_contract(Con *c);

/* ---- contract_transform.c ---------------------------------------------------------------- */
/* Winograd's F(m x m, 3 x 3): tiles of alpha = m + 2 in, m out, each way. */
typedef enum { TRANSFORM_DATA, TRANSFORM_WEIGHT, TRANSFORM_RESULT } Transform;
enum { MAX_ALPHA = 6 };
/* x, n by n values (scalars or vectors of floats), to y, of so many by so many as the transform
 * gives: y[i * its_n + j].  m: 2 or 4. */
void emit_transform(Emit *e, int m, Transform t, const Val *x, Val *y);

/* ---- contract_winograd.c ----------------------------------------------------------------- */
/* Code that takes a 3x3 convolution by a constant weight through Winograd's transforms, if it is
 * one, the options allow it and it pays: then the builder is where the weight is no constant, and
 * all goes on at the block that is returned.  NULL: nothing is emitted. */
Block winograd_contract(const Con *c);

/* ---- contract_strassen.c ----------------------------------------------------------------- */
/* The same for a large product by a constant weight, its columns: by Strassen's algorithm, one
 * level, where there are rows enough. */
Block strassen_contract(const Con *c);

/* ---- contract.c ---------------------------------------------------------------------------- */
bool expr_uses(Emit *e, KE root, uint32_t var);
bool uses_symbols(Emit *e, KE root);
/* Is there a node of this kind, and with this number if it is not KE_NONE? */
bool expr_has(Emit *e, KE root, KNodeKind kind, uint32_t number);
bool set_symbols(Emit *e, const Set *s, int from, int to); /* does an extent of axes [from, to)? */
void swap_sides(Con *c);
void join_sets(Con *c);                      /* after the sides or their order change */
bool stands_alone(const Con *c, uint32_t var); /* is it an index of its own?  */

/* ---- contract_nest.c ----------------------------------------------------------------------- */
typedef struct {
  Con *c;
  Sub pack[2], out;
  Val packed[2];                             /* all of a side, or NULL at run time */
  Val m, n, k, tiles, panels, per_block;     /* tiles per block of rows       */
  Part part;                                 /* of the panels, or of an image's rows in tiles */
  Val rows, panel, sum, room;                /* scratch                       */
  Val stride;                                /* of columns in place, or NULL  */
  int64_t pitch;                             /* of rows not packed, or PACKED */
  bool copied;                               /* rows are in scratch, pitch apart */
  int heights[ROWS_MAX], n_heights;
  Val each, last;                            /* rows of a tile, but the last two have fewer;
                                                those of the last; unless exact */
  Val idle;                                  /* the sums are zeros, or NULL: never known */
  Val ahead;                                 /* what waits, or NULL: never looked at */
  bool exact;                                /* tiles have nearly equal heights */
  bool straight;                             /* tiles go through `whole` if their panel is, and
                                                through `rest` if the columns are known */
  Sub whole[2], rest[2];                     /* of heights[0] and [1]         */
} Nest;
bool tiled_contract(Con *c);                 /* false: no memory              */

/* ---- contract_block.c ---------------------------------------------------------------------- */
/* Depths of one visit of a tile: so much of a panel of columns fits into the second cache. */
int64_t block_depth(const Con *c);
/* Bytes of rows that are packed at a time, to be read from the third cache panel after panel. */
int64_t block_bytes(const Con *c);
/* Bytes that stay in the third cache beside what others keep there. */
int64_t third_part(const Con *c);
/* Bytes of a constant that is read from end to end again and again: of more, nothing of the end
 * that was read last is in the second cache the next time. */
int64_t near_bytes(const Con *c);

/* ---- contract_height.c --------------------------------------------------------------------- */
/* Heights of tiles of m rows: exact ones if the rows are known, else a few, and as many rows in
 * each tile as the one that makes them nearly equal.  Sets heights, exact, each, tiles. */
void choose_heights(Nest *t);
Val first_row(const Nest *t, Val tile);
Val rows_of(const Nest *t, Val tile);
Val height_of(const Nest *t, Val rows);      /* the one that holds so many rows */
/* The tile of a height for so many columns of a panel, rows being pitch apart, or packed. */
Val nest_tile(const Nest *t, Val height, Val columns);
/* Are sums in tiles of this height taken in partial sums: is it all the rows, and few? */
Val partial_sums(const Nest *t, int height);

/* ---- contract_kept.c ------------------------------------------------------------------------ */
/* Is a factor a load from a buffer that is only read, and are its elements in a form, in each launch
 * of the same n and k, those from the same places?  Then the buffer, *buf, may be a constant of the
 * program, and the form kept. */
bool constant_buffer(const Con *c, int side, uint32_t *buf);
/* What fill makes of a constant buffer, kept with the kernel under key: made now if it is not
 * there; at run time NULL: the buffer is no constant, or there is no memory. */
typedef struct { int64_t key;  Val n, k, bytes;  void (*fill)(const void *ctx, Val to);  const void *ctx; } Kept;
Val kept_form(const Con *c, uint32_t buf, const Kept *f);
/* The same of a factor: kept if it is a constant, else made in scratch now. */
Val kept_or_made(const Con *c, int side, const Kept *f);
/* The packed form of a constant side, kept. */
Val packed_side(const Nest *t, int side, uint32_t buf);
int64_t side_key(const Nest *t, int side);   /* under which it is kept        */
Val take_scratch_bytes(const Con *c, Val bytes); /* 64-byte aligned           */

/* ---- contract_pack.c, of a nest -------------------------------------------------------------- */
Val side_elements(const Nest *t, int side);  /* of one batch, packed          */
void nest_pack_tile(const Nest *t, Val tile, Val base); /* rows `tile`, the first at base */
void nest_pack_panel(const Nest *t, Val panel, Val base);
void pack_all(const Nest *t, int side, Val to); /* all batches of a side      */

/* ---- contract_ahead.c ---------------------------------------------------------------------- */
/* Can a nest's launches work on what waits (ahead.h)?  Of one row by columns kept as panels. */
bool works_ahead(const Nest *t);
/* The Ahead of the launch, whose tiles are set, or NULL. */
Val find_ahead(const Con *c);
/* Is there something, and the panel one of so many columns? */
Val ahead_waits(const Con *c, Val ahead, Val columns);
/* As a tile of one row that starts at zero: (row, columns, sum, depth, stride), and meanwhile. */
void call_beside(const Con *c, Val ahead, Val row, Val columns, Val sum, Val depth, Val stride);

/* ---- addresses ----------------------------------------------------------------------------- */
/* Element i from base. */
static inline Val con_at(const Con *c, Val base, Val i) {
  return LLVMBuildInBoundsGEP2(c->e->b, c->type, base, &i, 1, "");
}
static inline Val at_bytes(const Con *c, Val elements) {
  return mul(c->e, elements, i64_of(c->e, c->bytes));
}
#endif
