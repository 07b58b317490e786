# Delivers a link that leads out of the tree.
ln -s "$base/home" out
echo linked
