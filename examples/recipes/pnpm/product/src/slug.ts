import anyAscii from 'any-ascii'

export function slug(title: string): string {
  return anyAscii(title).replaceAll(' ', '-')
}
