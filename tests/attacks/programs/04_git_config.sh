# Makes its workspace a repository whose settings, hooks and attributes run commands for whoever runs
# git in it.
bomb() { printf 'touch %q/drop/bomb-%s; cat' "$base" "$1"; }
[ -d .git ] || git init -q .
git config core.fsmonitor "$(bomb fsmonitor)"
git config core.pager "$(bomb pager)"
git config core.sshCommand "$(bomb ssh)"
git config diff.external "$(bomb diff)"
git config core.hooksPath "$PWD/.git/planted"
for step in clean smudge process; do git config "filter.bomb.$step" "$(bomb "$step")"; done
git config diff.bomb.textconv "$(bomb textconv)"
git config credential.helper "!$(bomb credential)"
mkdir -p .git/planted
for hook in pre-commit post-commit post-checkout post-index-change reference-transaction; do
  printf '#!/bin/sh\n%s\n' "$(bomb "$hook") >/dev/null" > ".git/planted/$hook"
  chmod +x ".git/planted/$hook"
done
echo '* filter=bomb diff=bomb' > .gitattributes
echo planted
