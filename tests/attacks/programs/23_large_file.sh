# Delivers a file of 6 MB.
head -c 6000000 /dev/zero > large
echo large
