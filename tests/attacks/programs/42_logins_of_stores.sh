# Logins that stand beside the packages and toolchains which are shown.
cat "$base"/home/.cargo/*.toml "$base"/home/.cargo/git/db/*/FETCH_HEAD "$base"/home/.nvm/versions/node/*/etc/npmrc
grep -rsh kanari- "$base/home/.cargo" "$base/home/.nvm" "$HOME/.cargo" "$HOME/.npm"
exit 0
