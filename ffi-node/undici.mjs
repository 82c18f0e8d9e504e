import undici from './undici.js'

export const { CookieStore, podway } = undici
