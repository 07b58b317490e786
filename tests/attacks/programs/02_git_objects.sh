# Looks through every git object that it can reach for an exam of the past: those of its workspace,
# those that alternates lend to it, those of the checkout.
for repository in "$PWD" "$base/product"; do
  git -C "$repository" -c safe.directory='*' cat-file --batch-all-objects --batch 2>/dev/null | grep -a kanari
  git -C "$repository" -c safe.directory='*' log --all --reflog -p 2>/dev/null | grep -a kanari
  cat "$repository/.git/objects/info/alternates" 2>/dev/null
done
exit 0
