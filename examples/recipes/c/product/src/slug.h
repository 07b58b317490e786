#ifndef SLUG_H
#define SLUG_H

/* Returns the slug of a title, to be freed; NULL where there is no memory. */
char *slug(const char *title);

#endif
