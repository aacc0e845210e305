/* file_test.c -- base/: reading and writing files, whole or not at all. */
#include "tests/unit/test.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static char folder[64];
static const char *in_folder(const char *name) { return str_fmt("%s/%s", folder, name); }

static int count_files(void) {
  int n = 0;
  DIR *d = opendir(folder);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/file_test-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  DIR *d = opendir(folder);
  for (struct dirent *e; (e = readdir(d));) {
    unlink(in_folder(e->d_name));
    rmdir(in_folder(e->d_name)); /* fails for . and .. */
  }
  closedir(d);
  return rmdir(folder);
}

static void a_file_reads_back_as_written(void **state) {
  (void)state;
  char *text, *bytes = NEW_BYTES(100000);
  size_t n;
  for (int i = 0; i < 100000; i++) bytes[i] = (char)(i * 31);
  static const size_t size[] = {0, 1, 4095, 4096, 100000};
  for (int i = 0; i < 5; i++) {
    assert_null(file_write(in_folder("a"), bytes, size[i]));
    assert_null(file_read(in_folder("a"), 100000, &text, &n));
    assert_int_equal(n, size[i]);
    if (n) assert_memory_equal(text, bytes, n);
    assert_int_equal(text[n], 0);
  }
  assert_int_equal(count_files(), 1);
}

static void reading_too_much_or_nothing_says_why(void **state) {
  (void)state;
  char *text;
  size_t n;
  assert_null(file_write(in_folder("a"), "12345", 5));
  assert_null(file_read(in_folder("a"), 5, &text, &n));
  assert_string_equal(file_read(in_folder("a"), 4, &text, &n), "the file is larger than 4 bytes");
  assert_non_null(file_read(in_folder("none"), 4, &text, &n));
  assert_non_null(file_read(folder, 4, &text, &n));
}

static void a_failed_write_leaves_the_old_file_and_nothing_else(void **state) {
  (void)state;
  char *text;
  size_t n;
  assert_null(file_write(in_folder("a"), "old", 3));
  assert_non_null(file_write(in_folder("none/b"), "new", 3));
  assert_null(mkdir(in_folder("d"), 0700) == 0 ? NULL : "mkdir");
  assert_non_null(file_write(in_folder("d"), "new", 3));
  assert_int_equal(count_files(), 2);
  const char *path = in_folder("a");
  pid_t pid = getpid();
  for (int i = 0; i < 100; i++) /* every temporary name is taken */
    assert_int_equal(mkdir(str_fmt("%s.%ld.%d.tmp", path, (long)pid, i), 0700), 0);
  assert_non_null(file_write(path, "new", 3));
  assert_null(file_read(path, 100, &text, &n));
  assert_string_equal(text, "old");
  assert_non_null(file_write("/dev/full", "new", 3));
}

static void whether_a_file_can_be_written_is_found_without_a_trace(void **state) {
  (void)state;
  assert_null(file_write(in_folder("a"), "old", 3));
  assert_null(file_may_write(in_folder("a")));
  assert_null(file_may_write(in_folder("b")));
  assert_null(file_may_write("/dev/null"));
  assert_non_null(file_may_write(in_folder("none/b")));
  assert_non_null(file_may_write(folder));
  assert_int_equal(count_files(), 1);
}

static bool is_there(const char *name) { return access(in_folder(name), F_OK) == 0; }

static void what_a_killed_writer_left_is_removed_and_nothing_else(void **state) {
  (void)state;
  int status;
  pid_t dead = fork();
  if (dead == 0) _exit(0);
  assert_int_equal(waitpid(dead, &status, 0), dead);
  char left[40], locked[40], alive[40];
  snprintf(left, sizeof left, "a.%ld.0.tmp", (long)dead);
  snprintf(locked, sizeof locked, "a.%ld.17.tmp", (long)dead);
  snprintf(alive, sizeof alive, "a.%ld.0.tmp", (long)getppid());
  const char *other[] = {alive,
                         locked,
                         "b.1.0.tmp",
                         "a.0.0.tmp",
                         "a.tmp",
                         "a.-1.0.tmp",
                         str_fmt("a.%ld.tmp", (long)dead),
                         str_fmt("a.%ld.0x.tmp", (long)dead),
                         str_fmt("a.%ld.0.tmp.x", (long)dead)};
  enum { OTHERS = sizeof other / sizeof *other };
  for (int i = 0; i < OTHERS; i++) close(open(in_folder(other[i]), O_CREAT | O_WRONLY, 0600));
  close(open(in_folder(left), O_CREAT | O_WRONLY, 0600));
  int fd = open(in_folder(locked), O_RDONLY);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  file_sweep(in_folder("a"));
  assert_false(is_there(left));
  for (int i = 0; i < OTHERS; i++) assert_true(is_there(other[i]));
  close(fd);
  assert_null(file_write(in_folder("a"), "1", 1));
  assert_false(is_there(locked));
  assert_int_equal(count_files(), OTHERS);
}

static void writing_goes_through_links_and_keeps_the_mode(void **state) {
  (void)state;
  struct stat st;
  assert_null(file_write(in_folder("real"), "1", 1));
  assert_int_equal(chmod(in_folder("real"), 0750), 0);
  assert_int_equal(symlink("real", in_folder("link")), 0);
  assert_null(file_write(in_folder("link"), "22", 2));
  assert_int_equal(lstat(in_folder("link"), &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(stat(in_folder("real"), &st), 0);
  assert_int_equal(st.st_size, 2);
  assert_int_equal(st.st_mode & 0777, 0750);
  assert_null(file_write("/dev/null", "x", 1));
}

int main(void) {
  mem_init();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_file_reads_back_as_written, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(reading_too_much_or_nothing_says_why, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(what_a_killed_writer_left_is_removed_and_nothing_else,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(whether_a_file_can_be_written_is_found_without_a_trace,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file_and_nothing_else,
                                      make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(writing_goes_through_links_and_keeps_the_mode, make_folder,
                                      remove_folder),
  };
  int failed = cmocka_run_group_tests_name("file", tests, NULL, NULL);
  mem_release_all();
  return failed;
}
