/* Charts as SVG elements within HTML. Each is drawn for one of two widths, so that its text keeps its size: a
 * page shows the one that suits the window. The colours and fonts are chart_style's. */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_CHART_H
#define INCIDENTS_INCIDENTCTL_REPORT_CHART_H

#include <stdbool.h>
#include <stddef.h>

#include "incidentctl/report/scale.h"
#include "base/buffer.h"

enum chart_width { CHART_WIDE, CHART_NARROW };

/* CSS for the charts: light and dark, and the light one on paper. */
extern const char chart_style[];

/* What a screen reader says in a chart's place. Trusted text, as all of a chart but the names of its rows. */
struct chart_caption {
    const char *id; /* of the element, -wide or -narrow behind it */
    const char *title;
    const char *description;
};

enum { CHART_SERIES = 2 };

/* A week or a month: its first day, YYYY-MM-DD, and a value of each series; NAN leaves a gap. One that is not
 * whole is drawn in outline. */
struct chart_period {
    const char *start;
    double values[CHART_SERIES];
    bool is_part; /* not whole */
};

/* One or two series over time. The second is a line; the first is one too where lines is set, else bars. */
struct chart_history {
    struct chart_caption caption;
    enum scale_kind kind;
    const char *unit; /* of a number: "incidents" */
    bool lines;
    const char *series[CHART_SERIES]; /* their names; NULL for one that is not drawn */
    const struct chart_period *periods;
    size_t count;
};

void chart_draw_history(struct buffer *out, const struct chart_history *chart, enum chart_width width);

enum { CHART_COLUMNS = 2 };

struct chart_row {
    const char *label; /* any text; it is escaped, and cut where there is no room */
    double values[CHART_COLUMNS];
    double reach; /* of the second column: a thin line beyond its bar; NAN for none */
};

/* Bars that lie, two beside each other for each row, their values written behind them. */
struct chart_ranking {
    struct chart_caption caption;
    const char *columns[CHART_COLUMNS];
    enum scale_kind kinds[CHART_COLUMNS];
    const struct chart_row *rows;
    size_t count;
};

void chart_draw_ranking(struct buffer *out, const struct chart_ranking *chart, enum chart_width width);

#endif
