# Memory and descriptors over a soak: data (of tests/stress/soak_test.c), picture and rate, the requests a second of an ordinary day.
stats data using 2 nooutput
seconds = STATS_max
set terminal svg size 820,420 font "sans-serif,13" background "#ffffff"
set output picture
set title sprintf("The worker under requests of all kinds, sent in %.0f s", seconds) font ",15"
set xlabel sprintf("hours at %d requests a second", rate)
set ylabel "MiB resident"
set y2label "descriptors"
set yrange [0:*]
set y2range [0:*]
set xtics nomirror
set ytics nomirror
set y2tics
set grid ytics linecolor "#dddddd"
set key bottom right
plot data using ($1 / rate / 3600.0):3 with lines linewidth 2 linecolor "#0072b2" title "memory", \
     '' using ($1 / rate / 3600.0):4 axes x1y2 with lines linewidth 1 linecolor "#d55e00" title "descriptors"
