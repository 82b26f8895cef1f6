# The service's two secrets. Their values are write-only arguments: they go to
# Secrets Manager and are in neither the plan nor the state.

locals {
  # Every secret that a task may be given, under its variable's name. ECS takes
  # ARNs with the random ending that Secrets Manager adds.
  secrets = merge(
    { ENCRYPTION_KEY = aws_secretsmanager_secret.encryption_key.arn },
    local.has_login ? { SMTP_PASSWORD = aws_secretsmanager_secret.smtp_password[0].arn } : {},
    var.extra_secrets,
  )

  # The same as patterns that a plan shows, for policies.
  secret_prefix = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:"
  secret_arns = concat(
    ["${local.secret_prefix}${var.name}/encryption-key-??????"],
    local.has_login ? ["${local.secret_prefix}${var.name}/smtp-password-??????"] : [],
    values(var.extra_secrets),
  )

  has_login = var.smtp_username != ""
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
  # Never another number: the service has no rotation of this key yet, and
  # what the old one sealed would be lost.
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
