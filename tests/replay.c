/* replay.c -- feeds a fuzz target every file of the folder given, and the empty
 * input: the saved corpus is a test wherever there is no libFuzzer.          */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whether the file could be read, all of it. */
static bool replay(const char *dir, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  static uint8_t bytes[1 << 20];
  size_t n = fread(bytes, 1, sizeof bytes, f);
  bool whole = feof(f) && !ferror(f);
  fclose(f);
  uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees its end */
  if (!exact) return false;
  for (size_t i = 0; i < n; i++) exact[i] = bytes[i];
  LLVMFuzzerTestOneInput(exact, n);
  free(exact);
  return whole;
}

int main(int argc, char **argv) {
  int passed = 1, failed = 0;
  LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
  DIR *d = argc > 1 ? opendir(argv[1]) : NULL;
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    if (replay(argv[1], e->d_name)) passed++;
    else printf("%s/%s: cannot be read\n", argv[1], e->d_name), failed++;
  }
  if (d) closedir(d);
  else failed += printf("%s: no such folder\n", argc > 1 ? argv[1] : "FOLDER") > 0;
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
