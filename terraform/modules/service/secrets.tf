# The service's secrets. Their values are write-only arguments: they go to
# Secrets Manager and are in neither the plan nor the state.

locals {
  # Every secret that a task is given at its start, under its variable's name.
  # ECS takes ARNs with the random ending that Secrets Manager adds.
  secrets = merge(
    { ENCRYPTION_KEY = aws_secretsmanager_secret.encryption_key.arn },
    var.extra_secrets,
  )

  # The same as patterns that a plan shows, for policies.
  secret_prefix = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:"
  secret_arns = concat(
    ["${local.secret_prefix}${var.name}/encryption-key-??????"],
    values(var.extra_secrets),
  )

  # What the service reads by itself, because it may change while tasks run: the
  # password when it starts and when the relay refuses it, the tokens every minute.
  task_secret_arns = concat(
    local.has_login ? ["${local.secret_prefix}${var.name}/smtp-password-??????"] : [],
    local.has_tokens ? ["${local.secret_prefix}${var.name}/api-tokens-??????"] : [],
  )

  has_login  = var.smtp_username != ""
  has_tokens = strcontains(var.auth, "token")
}

resource "aws_secretsmanager_secret" "encryption_key" {
  name                    = "${var.name}/encryption-key"
  description             = "Seals relay passwords and letters in the tables. Whoever loses it loses them."
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_in_days
}

resource "aws_secretsmanager_secret_version" "encryption_key" {
  secret_id        = aws_secretsmanager_secret.encryption_key.id
  secret_string_wo = var.encryption_key
  # Never another number: the value becomes a list of keys when the key is
  # rotated (README), and writing one over it would lose what the others sealed.
  secret_string_wo_version = 1
}

resource "aws_secretsmanager_secret" "smtp_password" {
  count = local.has_login ? 1 : 0

  name                    = "${var.name}/smtp-password"
  description             = "At the default relay"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_in_days
}

resource "aws_secretsmanager_secret_version" "smtp_password" {
  count = local.has_login ? 1 : 0

  secret_id                = aws_secretsmanager_secret.smtp_password[0].id
  secret_string_wo         = var.smtp_password
  secret_string_wo_version = var.smtp_password_version
}

resource "aws_secretsmanager_secret" "api_tokens" {
  count = local.has_tokens ? 1 : 0

  name                    = "${var.name}/api-tokens"
  description             = "Hashes of the API's tokens, a line each as `server token` prints them"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_in_days
}

# A list without tokens, for the service to start with. What operators put there
# afterwards is theirs: the version is never raised.
resource "aws_secretsmanager_secret_version" "api_tokens" {
  count = local.has_tokens ? 1 : 0

  secret_id                = aws_secretsmanager_secret.api_tokens[0].id
  secret_string_wo         = "# API tokens of Postern, one a line. A token is revoked by taking its line away.\n"
  secret_string_wo_version = 1
}
