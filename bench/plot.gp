# Requests a second by clients, as bars: data and picture are file names.
set terminal svg size 820,420 font "sans-serif,13" background "#ffffff"
set output picture
set title "Upserts of new incidents a second, each committed to disk"
set xlabel "clients"
set yrange [0:*]
set format y "%'.0f"
set grid ytics linecolor "#dddddd"
set key top left
set style data histogram
set style histogram clustered gap 1
set style fill solid
set boxwidth 0.9
plot data using 2:xtic(1) title "incidents.fcgi through nginx" linecolor "#1f77b4", \
     '' using 3 title "pgbench, one item a call" linecolor "#7f7f7f", \
     '' using 4 title "PHP-FPM through nginx" linecolor "#9467bd", \
     '' using 5 title "Fastify" linecolor "#2ca02c", \
     '' using 6 title "Go" linecolor "#ff7f0e"
