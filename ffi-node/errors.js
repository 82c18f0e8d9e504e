'use strict'
// Errors of the native half as errors of JavaScript.

/** An error of podway: `code` is stable, `file`, `line` and `column` tell where. */
class PodwayError extends Error {
  constructor(told) {
    super(told.podway)
    this.name = 'PodwayError'
    this.code = told.code
    this.file = told.file ?? undefined
    this.line = told.line ?? undefined
    this.column = told.column ?? undefined
    this.diagnostics = told.diagnostics
  }
}

/** What the native half throws as JSON is a PodwayError; anything else is about a type. */
function translated(error) {
  if (!(error instanceof Error) || error instanceof PodwayError) {
    return error
  }
  if (error.message.startsWith('{"podway":')) {
    return new PodwayError(JSON.parse(error.message))
  }
  return error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError
    ? error
    : new TypeError(error.message, { cause: error })
}

/** Runs `call`, and throws what it throws in our words. */
function told(call) {
  try {
    return call()
  } catch (error) {
    throw translated(error)
  }
}

/** An error about an argument that the native half never gets to see. */
function refused(message) {
  const diagnostics = [{ Severity: 'error', Code: 'E_ARGUMENT', Message: message }]
  return new PodwayError({ podway: `${message} [E_ARGUMENT]`, code: 'E_ARGUMENT', diagnostics })
}

module.exports = { PodwayError, refused, told, translated }
