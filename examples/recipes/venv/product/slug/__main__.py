import sys

from slug import slug

print(slug(sys.argv[1]))
