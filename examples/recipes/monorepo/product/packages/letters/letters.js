import anyAscii from 'any-ascii'

export function plain(text) {
  return anyAscii(text)
}
