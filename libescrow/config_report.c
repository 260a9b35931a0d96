/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config.h"
#include "libescrow/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REPORT_LINES_MAX 200

void config_report_add(struct config_report *report, const char *format, ...)
{
    char **lines;
    va_list arguments;

    report->total++;
    if (report->count >= REPORT_LINES_MAX)
        return;
    lines = reallocarray(report->lines, report->count + 1, sizeof(*lines));
    if (!lines)
        return;
    report->lines = lines;
    va_start(arguments, format);
    if (vasprintf(&lines[report->count], format, arguments) >= 0)
        report->count++;
    va_end(arguments);
}

void config_report_log(const struct config_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        log_error("%s", report->lines[i]);
}

void config_report_deinit(struct config_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->lines[i]);
    free(report->lines);
    *report = (struct config_report){0};
}
