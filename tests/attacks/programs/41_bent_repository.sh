# As the product: bends the repository of its tree for whatever asks git there next.
git config dark.bent 2> /dev/null && echo 'found: bent by an earlier one'
git config dark.bent true 2> /dev/null
git update-ref refs/heads/bent HEAD 2> /dev/null
exit 0
