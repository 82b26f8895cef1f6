# Where, and under which name.

variable "region" {
  description = "The AWS region, GovCloud or commercial."
  type        = string
  default     = "us-gov-west-1"

  validation {
    condition     = can(regex("^(us|eu|ap|sa|ca|me|af|il|mx)(-gov)?-[a-z]+-[1-9]$", var.region))
    error_message = "region must be a GovCloud or commercial region such as us-gov-west-1."
  }
}

variable "name" {
  description = "Prefix of every name; two stacks in one account and region need two."
  type        = string
  default     = "postern"

  validation {
    # The load balancer's name is the shortest that AWS allows.
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name)) && !startswith(var.name, "internal-")
    error_message = "name must have 2 to 24 lower-case letters, digits and hyphens, start with a letter and not with internal-."
  }
}

variable "tags" {
  description = "Tags of every resource, besides Application and ManagedBy."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:") && length(key) <= 128])
    error_message = "tags must not have keys that start with aws: or are longer than 128 characters."
  }
}

variable "permissions_boundary_arn" {
  description = "A permissions boundary for every role, where the organisation demands one; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy."
  }
}

variable "deletion_protection" {
  description = "Whether tables and load balancer refuse to be deleted, and secrets can be had back for 30 days. Set it to false, apply, and then destroy."
  type        = bool
  default     = true
}

variable "aws_max_retries" {
  description = "How often a call to AWS is tried again."
  type        = number
  default     = 25

  validation {
    condition     = var.aws_max_retries >= 0 && var.aws_max_retries <= 100
    error_message = "aws_max_retries must be from 0 to 100."
  }
}

# The network.

variable "vpc_cidr" {
  description = "The VPC's network."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 24, false)
    error_message = "vpc_cidr must be an IPv4 network of /16 to /24."
  }
}

variable "private_subnet_cidrs" {
  description = "A private subnet for each availability zone, two or three, in vpc_cidr."
  type        = list(string)
  default     = ["10.0.1.0/24", "10.0.3.0/24"]

  validation {
    condition     = length(var.private_subnet_cidrs) >= 2 && length(var.private_subnet_cidrs) <= 3 && alltrue([for cidr in var.private_subnet_cidrs : can(cidrhost(cidr, 0))])
    error_message = "private_subnet_cidrs must be two or three IPv4 networks."
  }
}

variable "public_subnet_cidr" {
  description = "The public subnet, which is the client's alone."
  type        = string
  default     = "10.0.2.0/24"

  validation {
    condition     = can(cidrhost(var.public_subnet_cidr, 0))
    error_message = "public_subnet_cidr must be an IPv4 network."
  }
}

variable "nat_subnet_cidrs" {
  description = "A subnet for each NAT gateway, used in mode nat only."
  type        = list(string)
  default     = ["10.0.4.0/28", "10.0.4.16/28", "10.0.4.32/28"]

  validation {
    condition     = alltrue([for cidr in var.nat_subnet_cidrs : can(cidrhost(cidr, 0))])
    error_message = "nat_subnet_cidrs must be IPv4 networks."
  }
}

variable "availability_zones" {
  description = "Zones of the private subnets, in their order; none for the region's first ones."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.availability_zones) == 0 || length(var.availability_zones) == length(var.private_subnet_cidrs)
    error_message = "availability_zones must be as many as private_subnet_cidrs, or none."
  }
}

# How mail leaves.

variable "egress_mode" {
  description = <<-EOT
    How mail leaves. none: no way to the internet; the relay is in the VPC or
    reached by peering, a transit gateway or a VPN. nat: by NAT gateways, for
    relays on the internet such as Gmail and Outlook. ses: by the private SMTP
    endpoint of Amazon SES, without the internet.
  EOT
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "nat", "ses"], var.egress_mode)
    error_message = "egress_mode must be none, nat or ses."
  }
}

variable "nat_gateways" {
  description = "NAT gateways in mode nat: one, or one for each private subnet so that a zone's end does not cut off the others."
  type        = number
  default     = 1

  validation {
    condition     = var.nat_gateways == 1 || (var.nat_gateways == length(var.private_subnet_cidrs) && var.nat_gateways <= length(var.nat_subnet_cidrs))
    error_message = "nat_gateways must be 1 or as many as private_subnet_cidrs, with a nat_subnet_cidrs entry for each."
  }
}

variable "relay_cidrs" {
  description = "Networks of the relays: the only ones to which the tasks may send mail. Required unless egress_mode is ses."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.relay_cidrs : can(cidrhost(cidr, 0)) && can(cidrnetmask(cidr))])
    error_message = "relay_cidrs must be IPv4 networks such as 10.20.0.25/32: security groups know no host names."
  }

  validation {
    condition     = var.egress_mode == "ses" ? length(var.relay_cidrs) == 0 : length(var.relay_cidrs) > 0
    error_message = "relay_cidrs is required where egress_mode is none or nat, and has no place where it is ses."
  }

  validation {
    # /0 by name only, and nothing else that comes near it.
    condition = alltrue([
      for cidr in var.relay_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false) || (cidr == "0.0.0.0/0" && var.allow_any_relay && var.egress_mode == "nat")
    ])
    error_message = "relay_cidrs must be /8 or narrower; 0.0.0.0/0 needs allow_any_relay = true and egress_mode = \"nat\"."
  }
}

variable "allow_any_relay" {
  description = "Allows 0.0.0.0/0 in relay_cidrs, for relays such as smtp.gmail.com whose addresses change. Every address of the internet then gets mail on relay_ports."
  type        = bool
  default     = false
}

variable "relays" {
  description = "Which relays campaigns may name (RELAYS): listed is the default relay, and others by an address within relay_cidrs; default is the default relay with its own account alone; any is every relay to which relay_cidrs lets mail leave, which a stack without smtp_server needs where campaigns name theirs by name. Whoever sends to a relay of their own choice can read every contact there."
  type        = string
  default     = "listed"

  validation {
    condition     = contains(["any", "listed", "default"], var.relays)
    error_message = "relays must be any, listed or default."
  }

  validation {
    condition     = var.relays == "any" || var.smtp_server != "" || var.egress_mode == "ses" || (var.relays == "listed" && length(setsubtract(var.relay_cidrs, ["0.0.0.0/0"])) > 0)
    error_message = "relays leaves none: default needs smtp_server; listed needs smtp_server, or relay_cidrs other than 0.0.0.0/0."
  }
}

variable "relay_ports" {
  description = "Ports on which mail leaves: 587 (STARTTLS), 465 (TLS), 2525 and SES's 2587 and 2465. Never 25."
  type        = list(number)
  default     = [587, 465]

  validation {
    condition     = length(var.relay_ports) > 0 && alltrue([for port in var.relay_ports : contains([465, 587, 2465, 2525, 2587], port)])
    error_message = "relay_ports must be of 465, 587, 2465, 2525 and 2587; 25 is for mail between servers, unauthenticated, and AWS blocks it."
  }
}

variable "relay_routes" {
  description = "Routes of the private subnets to relays' networks, each by a transit gateway or a peering connection that is there already."
  type = list(object({
    cidr                      = string
    transit_gateway_id        = optional(string)
    vpc_peering_connection_id = optional(string)
  }))
  default = []

  validation {
    condition = alltrue([
      for route in var.relay_routes : can(cidrhost(route.cidr, 0)) && try(tonumber(split("/", route.cidr)[1]) >= 8, false) && (route.transit_gateway_id == null) != (route.vpc_peering_connection_id == null)
    ])
    error_message = "relay_routes must each have a cidr of /8 or narrower, and either transit_gateway_id or vpc_peering_connection_id."
  }
}

variable "smtp_server" {
  description = "The default relay's host name; \"\" for none (campaigns then name their own), or for SES's in mode ses."
  type        = string
  default     = ""

  validation {
    condition     = var.smtp_server == "" || can(regex("^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", var.smtp_server))
    error_message = "smtp_server must be a host name, without a port."
  }
}

variable "smtp_port" {
  description = "The default relay's port, one of relay_ports. 465 means TLS from the start, every other one STARTTLS; without TLS no mail goes out."
  type        = number
  default     = 587

  validation {
    condition     = contains(var.relay_ports, var.smtp_port)
    error_message = "smtp_port must be one of relay_ports."
  }
}

variable "relay_ca_pem" {
  description = "Certificates (PEM) of private authorities that relays' certificates may be signed by, besides the public ones; \"\" for none. They are no secret, and stand in the task definition: file(\"agency-ca.pem\")."
  type        = string
  default     = ""

  validation {
    # A task definition has 64 KiB in all.
    condition     = var.relay_ca_pem == "" || strcontains(var.relay_ca_pem, "-----BEGIN CERTIFICATE-----") && !strcontains(var.relay_ca_pem, "PRIVATE KEY-----") && length(var.relay_ca_pem) <= 32768
    error_message = "relay_ca_pem must be certificates in PEM, of 32,768 characters at most, and without a private key."
  }
}

variable "smtp_username" {
  description = "User name at the default relay; \"\" for a relay without login."
  type        = string
  default     = ""

  validation {
    condition     = var.smtp_username == "" || var.smtp_server != "" || var.egress_mode == "ses"
    error_message = "smtp_username needs smtp_server."
  }
}

variable "smtp_password" {
  description = "Password at the default relay. Needed at the first apply with smtp_username, and again when smtp_password_version is raised. It goes to Secrets Manager, and neither to the plan nor to the state: export TF_VAR_smtp_password."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.smtp_password == null || try(length(var.smtp_password) > 0, false)
    error_message = "smtp_password must not be empty."
  }
}

variable "smtp_password_version" {
  description = "Raise it together with a new smtp_password; tasks take it when they start, and when the relay refuses the one before."
  type        = number
  default     = 1

  validation {
    condition     = var.smtp_password_version >= 1 && floor(var.smtp_password_version) == var.smtp_password_version
    error_message = "smtp_password_version must be a whole number from 1."
  }
}

# The API, and who may call it.

variable "stage_name" {
  description = "The API's stage, the first part of every path."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.stage_name))
    error_message = "stage_name must have letters, digits, hyphens and underscores."
  }
}

variable "api_authorization" {
  description = "NONE: whoever comes through the VPC endpoint may call. AWS_IAM: requests must be signed, by principals that may execute-api:Invoke."
  type        = string
  default     = "NONE"

  validation {
    condition     = contains(["NONE", "AWS_IAM"], var.api_authorization)
    error_message = "api_authorization must be NONE or AWS_IAM."
  }
}

variable "api_caller_arns" {
  description = "With AWS_IAM, the principals that the API's resource policy lets in; null for all that their own policies allow."
  type        = list(string)
  default     = null

  validation {
    condition     = var.api_caller_arns == null || var.api_authorization == "AWS_IAM"
    error_message = "api_caller_arns needs api_authorization = \"AWS_IAM\"."
  }

  validation {
    condition     = var.api_caller_arns == null || alltrue([for arn in coalesce(var.api_caller_arns, []) : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:.+$", arn))])
    error_message = "api_caller_arns must be ARNs of IAM principals."
  }
}

variable "api_client_cidrs" {
  description = "Networks that may call the API, besides the client: other subnets, peered VPCs, networks behind a VPN."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.api_client_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "api_client_cidrs must be IPv4 networks of /8 or narrower."
  }
}

variable "additional_vpc_endpoint_ids" {
  description = "execute-api endpoints of other VPCs through which the API may be called."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.additional_vpc_endpoint_ids : can(regex("^vpce-[0-9a-f]{8,17}$", id))])
    error_message = "additional_vpc_endpoint_ids must be like vpce-0123456789abcdef0."
  }
}

variable "api_private_dns" {
  description = "Whether the region's execute-api names lead to the endpoint. No special header is needed then, but public APIs of others cannot be called from this VPC."
  type        = bool
  default     = true
}

variable "api_throttling" {
  description = "Requests a second and at once that the API takes; more get 429."
  type        = object({ rate = number, burst = number })
  default     = { rate = 100, burst = 200 }

  validation {
    condition     = var.api_throttling.rate >= 1 && var.api_throttling.rate <= 10000 && var.api_throttling.burst >= 1 && var.api_throttling.burst <= 5000
    error_message = "api_throttling must have a rate from 1 to 10000 and a burst from 1 to 5000."
  }
}

variable "manage_api_gateway_account" {
  description = "Whether to set the role by which API Gateway writes logs. It is one for the account and region: false where it has one already."
  type        = bool
  default     = true
}

variable "auth" {
  description = "How the service itself checks callers (AUTH), behind what API Gateway has let through: vpce wants one of the VPC endpoints through which the API may be called, token a token of its own, vpce+token both, none-insecure nothing. With tokens a secret for their hashes is made, which is empty of tokens at first."
  type        = string
  default     = "vpce"

  validation {
    condition     = contains(["none-insecure", "vpce", "token", "vpce+token"], var.auth)
    error_message = "auth must be none-insecure, vpce, token or vpce+token."
  }
}

variable "task_tls" {
  description = "Whether the task's listener speaks TLS, with a certificate that the task makes for itself (LISTEN_TLS=self-signed). false leaves the hop from API Gateway to the task without encryption of ours."
  type        = bool
  default     = true
}

variable "load_balancer_certificate" {
  description = "ACM certificate of a public authority, in this region, and the host name in it: the load balancer then presents it and API Gateway checks it; from there to the task goes TLS of its own. null: API Gateway meets the task's self-signed certificate, which encrypts and proves nothing. The name need not resolve."
  type        = object({ arn = string, domain = string })
  default     = null

  validation {
    condition     = var.load_balancer_certificate == null || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.load_balancer_certificate.arn))
    error_message = "load_balancer_certificate.arn must be the ARN of a certificate in ACM."
  }

  validation {
    condition     = var.load_balancer_certificate == null || (var.task_tls && can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", var.load_balancer_certificate.domain)))
    error_message = "load_balancer_certificate.domain must be a host name in lower case, and needs task_tls."
  }
}

# The service.

variable "image_tag" {
  description = "The image to run, by its tag in the repository that this stack makes; \"\" to make everything and start nothing, until an image is pushed."
  type        = string
  default     = ""

  validation {
    condition     = var.image_tag == "" || (can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag)) && var.image_tag != "latest")
    error_message = "image_tag must be a tag, and not latest: tags are immutable."
  }
}

variable "cpu_architecture" {
  description = "What the image was built for: X86_64 (linux/amd64) or ARM64 (linux/arm64, about a fifth cheaper)."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "task_cpu" {
  description = "CPU units of a task; 1024 make a vCPU."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.task_cpu)
    error_message = "task_cpu must be 256, 512, 1024, 2048 or 4096."
  }
}

variable "task_memory" {
  description = "MiB of a task, of those that Fargate has for task_cpu."
  type        = number
  default     = 1024

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = [for gib in range(1, 5) : gib * 1024]
      "1024" = [for gib in range(2, 9) : gib * 1024]
      "2048" = [for gib in range(4, 17) : gib * 1024]
      "4096" = [for gib in range(8, 31) : gib * 1024]
    }, tostring(var.task_cpu), []), var.task_memory)
    error_message = "task_memory must be what Fargate has for task_cpu: 512 to 2048 for 256, 1 to 4 GiB for 512, 2 to 8 for 1024, 4 to 16 for 2048, 8 to 30 for 4096."
  }
}

variable "min_tasks" {
  description = "Tasks that always run; two survive the end of a zone."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 1 && var.min_tasks <= 100
    error_message = "min_tasks must be from 1 to 100."
  }
}

variable "max_tasks" {
  description = "Tasks at most."
  type        = number
  default     = 6

  validation {
    condition     = var.max_tasks >= var.min_tasks && var.max_tasks <= 100
    error_message = "max_tasks must be from min_tasks to 100."
  }
}

variable "cpu_target" {
  description = "Per cent of CPU that autoscaling aims at."
  type        = number
  default     = 60

  validation {
    condition     = var.cpu_target >= 10 && var.cpu_target <= 90
    error_message = "cpu_target must be from 10 to 90."
  }
}

variable "backlog_target" {
  description = "Recipients without a result, for each task, that autoscaling aims at; null scales by CPU alone. The service logs the metric, CloudWatch makes it of the log."
  type        = number
  default     = 50000

  validation {
    condition     = var.backlog_target == null || try(var.backlog_target > 0, false)
    error_message = "backlog_target must be above 0, or null."
  }
}

variable "stop_timeout" {
  description = "Seconds that a task has to finish what is in flight, from SIGTERM to SIGKILL."
  type        = number
  default     = 120

  validation {
    condition     = var.stop_timeout >= 30 && var.stop_timeout <= 120
    error_message = "stop_timeout must be from 30 to 120, Fargate's most."
  }
}

variable "encryption_key" {
  description = "The key that seals relay passwords and letters in the tables, base64 of 32 octets. Needed at the first apply: export TF_VAR_encryption_key=$(openssl rand -base64 32). It goes to Secrets Manager, and neither to the plan nor to the state."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.encryption_key == null || can(regex("^[A-Za-z0-9+/]{43}=$", var.encryption_key))
    error_message = "encryption_key must be base64 of 32 octets: openssl rand -base64 32."
  }
}

variable "table_prefix" {
  description = "In front of the tables' names EmailContacts, EmailCampaigns, EmailDeliveries and EmailWork."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{0,100}$", var.table_prefix))
    error_message = "table_prefix must have letters, digits, underscores, hyphens and dots."
  }
}

variable "settings" {
  description = "Further environment variables of the service (server -h explains them), such as { RELAY_RATE = \"14\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.settings), jsondecode(file("${path.module}/modules/service/settings.json")))) == 0
    error_message = "settings may have those variables alone that modules/service/settings.json lists; others have a variable of their own here, or no place on AWS."
  }
}

variable "extra_secrets" {
  description = "Further environment variables, by the ARNs of their secrets in Secrets Manager, encrypted with this stack's key."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, arn in var.extra_secrets : can(regex("^[A-Z][A-Z0-9_]*$", name)) && can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+$", arn))])
    error_message = "extra_secrets must map names of environment variables to ARNs of secrets."
  }

  validation {
    condition     = length(setintersection(keys(var.extra_secrets), ["ENCRYPTION_KEY", "ENCRYPTION_KEY_REF", "SMTP_PASSWORD", "SMTP_PASSWORD_REF"])) == 0
    error_message = "extra_secrets must not have ENCRYPTION_KEY or SMTP_PASSWORD, which have secrets here."
  }
}

# What is watched, and by whom.

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch Logs knows, such as 30, 90, 365 or 2557."
  }
}

variable "alarm_emails" {
  description = "Who is told of alarms; each address has to confirm."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alarm_emails must be mail addresses."
  }
}

variable "metrics_client_cidrs" {
  description = "Networks of Prometheus servers, which may read the tasks' metrics."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.metrics_client_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 16, false)])
    error_message = "metrics_client_cidrs must be IPv4 networks of /16 or narrower."
  }
}

# The client instance.

variable "create_client" {
  description = "Whether there is an instance in a public subnet to call the API from. Without it, and without NAT, the VPC has no internet gateway."
  type        = bool
  default     = false
}

variable "client_instance_type" {
  description = "The client's type."
  type        = string
  default     = "t3.micro"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9]+$", var.client_instance_type))
    error_message = "client_instance_type must be like t3.micro."
  }
}

variable "client_architecture" {
  description = "x86_64 or arm64, as client_instance_type has it."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.client_architecture)
    error_message = "client_architecture must be x86_64 or arm64."
  }
}

variable "client_ami_id" {
  description = "The client's image; null for the latest Amazon Linux 2023."
  type        = string
  default     = null

  validation {
    condition     = var.client_ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.client_ami_id))
    error_message = "client_ami_id must be like ami-0123456789abcdef0."
  }
}

variable "client_ssh_cidrs" {
  description = "Networks that may connect to the client by SSH; none, because Session Manager needs no way in."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.client_ssh_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 16, false)])
    error_message = "client_ssh_cidrs must be IPv4 networks of /16 or narrower."
  }
}

variable "client_key_name" {
  description = "A key pair for SSH to the client; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.client_key_name == null || try(length(var.client_key_name) > 0, false) && var.create_client
    error_message = "client_key_name must be a key pair's name, and needs create_client."
  }
}
