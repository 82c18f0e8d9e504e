/*
 * Lines of words in, lines of words out: what vectors.c reads and prints.
 *
 * A word is a number, a bare name, `-` for nothing, or `=` and text in which %XX stands for a byte.
 */
#ifndef WORDS_H
#define WORDS_H

#include <podway.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 512 };

static void die(const char *what) {
    fprintf(stderr, "vectors.c: %s\n", what);
    exit(2);
}

static void *must(void *memory) {
    if (memory == NULL) die("out of memory");
    return memory;
}

/* Words */

static char *words[MAX_WORDS];
static size_t lengths[MAX_WORDS];
static size_t word_count;

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Splits a line at its blanks and decodes texts in place. */
static void split(char *line) {
    word_count = 0;
    for (char *from = line; *from != '\0';) {
        size_t length = strcspn(from, " ");
        char *next = from + length + (from[length] == ' ');
        from[length] = '\0';
        if (word_count == MAX_WORDS) die("too many words");
        if (*from == '=') {
            char *to = from;
            for (const char *c = from + 1; *c != '\0'; c++) {
                if (*c != '%') {
                    *to++ = *c;
                } else {
                    if (hex(c[1]) < 0 || hex(c[2]) < 0) die("a broken escape");
                    *to++ = (char)(hex(c[1]) * 16 + hex(c[2]));
                    c += 2;
                }
            }
            length = (size_t)(to - from);
        }
        words[word_count] = from;
        lengths[word_count++] = length;
        from = next;
    }
}

static char *read_line(void) {
    size_t size = 4096, used = 0;
    char *line = must(malloc(size));
    while (fgets(line + used, (int)(size - used), stdin) != NULL) {
        used += strlen(line + used);
        if (used > 0 && line[used - 1] == '\n') {
            line[used - 1] = '\0';
            return line;
        }
        line = must(realloc(line, size *= 2));
    }
    free(line);
    return NULL;
}

static podway_str text(size_t at) {
    podway_str view = {NULL, 0};
    if (at >= word_count) die("too few words");
    view.ptr = (const uint8_t *)words[at];
    view.len = lengths[at];
    return view;
}

static uint64_t number(size_t at) {
    if (at >= word_count) die("too few words");
    return strtoull(words[at], NULL, 10);
}

static podway_now moment(size_t at) {
    podway_now now = {number(at), number(at + 1)};
    return now;
}

static int is(size_t at, const char *name) {
    return at < word_count && strcmp(words[at], name) == 0;
}

/* Answers */

static void say(podway_str view) {
    if (view.ptr == NULL) {
        putchar('-');
        return;
    }
    putchar('=');
    for (size_t i = 0; i < view.len; i++) {
        int c = view.ptr[i];
        if (c > ' ' && c < 127 && c != '%') putchar(c);
        else printf("%%%02X", c);
    }
}

static void field(const char *name, podway_str view) {
    printf(" %s ", name);
    say(view);
}

static void text_field(const char *name, podway_text *told) {
    field(name, podway_text_view(told));
    podway_text_free(told);
}

static void failed(podway_status status, podway_error *error) {
    printf("failed %d", (int)status);
    field("code", podway_error_code(error));
    field("json", podway_error_json(error));
    podway_error_free(error);
}

static void done(podway_status status, podway_error *error) {
    if (status == PODWAY_STATUS_OK) printf("ok");
    else failed(status, error);
}

#endif
