/* replay.c -- feeds a fuzz target every file of the folder given, and the empty
 * input: the saved corpus is a test wherever there is no libFuzzer.          */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay(const char *dir, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  if (!f) return 0;
  static uint8_t bytes[1 << 20];
  size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees its end */
  if (!exact) return 0;
  for (size_t i = 0; i < n; i++) exact[i] = bytes[i];
  LLVMFuzzerTestOneInput(exact, n);
  free(exact);
  return 1;
}

int main(int argc, char **argv) {
  int done = 1;
  LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
  DIR *d = argc > 1 ? opendir(argv[1]) : NULL;
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.') done += replay(argv[1], e->d_name);
  if (d) closedir(d);
  printf("%d passed, 0 failed\n", done);
  return 0;
}
