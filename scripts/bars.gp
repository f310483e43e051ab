# Horizontal bars, one a line of the data: a label and a number, with a bar between them. data, picture, heading and unit are given.
set datafile separator "|"
stats data using 2 nooutput
set terminal svg size 760,(90 + 34 * STATS_records) font "sans-serif,13" background "#ffffff"
set output picture
set title heading font ",15"
set xlabel unit
set xrange [0:*]
set yrange [STATS_records - 0.5:-0.5]
unset xtics
set rmargin 9
set border 2
set tics scale 0
set style fill solid noborder
unset key
plot data using ($2 / 2.0):0:($2 / 2.0):(0.34):ytic(1) with boxxyerror linecolor "#0072b2", \
     '' using 2:0:(sprintf(" %.4g", $2)) with labels left font ",12"
