/* Standard input, output and error, of which whoever started the program may have closed one. */
#ifndef INCIDENTS_BASE_STANDARD_FILES_H
#define INCIDENTS_BASE_STANDARD_FILES_H

/* Opens /dev/null in the place of each that is closed, lest a file or a connection of ours is taken for it,
 * and gets what is written to it. access is O_RDWR, and what is written is lost, or O_RDONLY, and writing is
 * an error. Before anything else is opened. */
void standard_files_open(int access);

#endif
