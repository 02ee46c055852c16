// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel of Raspberry Pi OS has and that of Debian lacks, as far as edge-agent uses it:
 *
 *   /dev/gpiomem           the registers of the GPIO block, for the group gpio instead of root
 *   hwmon "rpi_volt"       in0_lcrit_alarm: the firmware saw the voltage too low
 *
 * The first is the real thing: QEMU models the registers. The second says what the parameter
 * `undervoltage` says, for QEMU has no firmware to ask:
 * echo 1 > /sys/module/pi_devices/parameters/undervoltage
 */
#include <linux/hwmon.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>

/* As seen from the processors of BCM2837; one page holds the whole block. */
#define GPIO_BASE 0x3f200000UL

static bool undervoltage;
module_param(undervoltage, bool, 0644);

static int gpiomem_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long size = vma->vm_end - vma->vm_start;

	if (vma->vm_pgoff != 0 || size > PAGE_SIZE)
		return -EINVAL;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return remap_pfn_range(vma, vma->vm_start, GPIO_BASE >> PAGE_SHIFT, size, vma->vm_page_prot);
}

static const struct file_operations gpiomem_operations = {
	.owner = THIS_MODULE,
	.mmap = gpiomem_mmap,
};

static struct miscdevice gpiomem = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gpiomem",
	.fops = &gpiomem_operations,
};

static umode_t volt_visible(const void *data, enum hwmon_sensor_types type, u32 attribute, int channel)
{
	return 0444;
}

static int volt_read(struct device *device, enum hwmon_sensor_types type, u32 attribute, int channel,
		     long *value)
{
	*value = undervoltage;
	return 0;
}

static const struct hwmon_ops volt_operations = {
	.is_visible = volt_visible,
	.read = volt_read,
};

static const struct hwmon_channel_info *volt_channels[] = {
	HWMON_CHANNEL_INFO(in, HWMON_I_LCRIT_ALARM),
	NULL,
};

static const struct hwmon_chip_info volt_chip = {
	.ops = &volt_operations,
	.info = volt_channels,
};

static struct platform_device *firmware;

static int __init pi_devices_init(void)
{
	struct device *volt;
	int error;

	firmware = platform_device_register_simple("pi_devices", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(firmware))
		return PTR_ERR(firmware);
	volt = hwmon_device_register_with_info(&firmware->dev, "rpi_volt", NULL, &volt_chip, NULL);
	if (IS_ERR(volt)) {
		platform_device_unregister(firmware);
		return PTR_ERR(volt);
	}
	error = misc_register(&gpiomem);
	if (error) {
		hwmon_device_unregister(volt);
		platform_device_unregister(firmware);
	}
	return error;
}

/* No exit: it stays for as long as the board runs. */
module_init(pi_devices_init);
MODULE_DESCRIPTION("Devices of Raspberry Pi OS for an emulated board");
MODULE_LICENSE("GPL");
